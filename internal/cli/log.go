package cli

import (
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

// NewLogger returns a logger that writes each record to w in one Write.
func NewLogger(w io.Writer, o LogOptions) *slog.Logger {
	var h slog.Handler
	if o.JSON {
		h = newJSONHandler(w, o.Now)
	} else {
		h = newLineHandler(w, o.Look, o.Now)
	}
	if o.Filter != nil {
		h = newGate(h, o.Filter)
	}
	return slog.New(h)
}
