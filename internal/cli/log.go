package cli

import (
	"bytes"
	"io"
	"log/slog"
	"time"
)

// LogOptions say how records become lines.
type LogOptions struct {
	JSON   bool             // one JSON object a line, instead of upstream's lines
	Look   Look             // of upstream's lines
	Filter *Filter          // nil: everything is shown
	Now    func() time.Time // the time of a record
}

// NewLogger returns a logger that writes each record to w in one Write. Records that a Sink lost are told of in the same form.
func NewLogger(w io.Writer, o LogOptions) *slog.Logger {
	h := newHandler(w, o)
	s, _ := w.(*Sink)
	if s != nil {
		s.onLoss(func(lost uint64) []byte {
			var b bytes.Buffer
			slog.New(newHandler(&b, o)).Warn("log records dropped: they could not be written in time", KeyTarget, "slim::log", "dropped", lost)
			return b.Bytes()
		})
	}
	if s != nil || o.Filter != nil {
		h = newGate(h, o.Filter, s)
	}
	return slog.New(h)
}

func newHandler(w io.Writer, o LogOptions) slog.Handler {
	if o.JSON {
		return newJSONHandler(w, o.Now)
	}
	return newLineHandler(w, o.Look, o.Now)
}
