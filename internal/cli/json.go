package cli

import (
	"context"
	"io"
	"log/slog"
	"time"
)

// jsonHandler writes records as one JSON object a line: time, level, msg, target, span, thread, then the fields.
// Immutable after With.
type jsonHandler struct {
	next                 slog.Handler
	target, span, thread string
}

func newJSONHandler(w io.Writer, now func() time.Time) *jsonHandler {
	return &jsonHandler{thread: mainThread, next: slog.NewJSONHandler(w, &slog.HandlerOptions{
		Level: LevelTrace,
		ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
			switch {
			case len(groups) > 0:
			case a.Key == slog.TimeKey:
				return slog.String(a.Key, now().UTC().Format(timeFormat))
			case a.Key == slog.MessageKey:
				return slog.String(a.Key, clip(a.Value.String(), longText))
			case a.Key == slog.LevelKey:
				if l, ok := a.Value.Any().(slog.Level); ok {
					name, _ := levelName(l)
					return slog.String(a.Key, name)
				}
			}
			a.Value = jsonValue(a)
			return a
		},
	})}
}

// jsonValue bounds texts and takes the build's information apart.
func jsonValue(a slog.Attr) slog.Value {
	if a.Value.Kind() == slog.KindString {
		return slog.StringValue(clip(a.Value.String(), mostOf(a.Key)))
	}
	switch v := a.Value.Any().(type) {
	case BuildInfo:
		return slog.GroupValue(slog.String("version", v.Version), slog.String("date", v.Date),
			slog.String("sha", v.SHA), slog.String("profile", v.Profile))
	case error:
		return slog.StringValue(clip(v.Error(), mostOf(a.Key)))
	}
	return a.Value
}

func (h *jsonHandler) Enabled(context.Context, slog.Level) bool { return true }

func (h *jsonHandler) WithGroup(name string) slog.Handler {
	n := *h
	n.next = h.next.WithGroup(name)
	return &n
}

func (h *jsonHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	n := *h
	var fields []slog.Attr
	for _, a := range attrs {
		switch a.Key {
		case KeyTarget:
			n.target = a.Value.String()
		case KeySpan:
			n.span = a.Value.String()
		case KeyThread:
			n.thread = a.Value.String()
		default:
			fields = append(fields, a)
		}
	}
	if len(fields) > 0 {
		n.next = h.next.WithAttrs(fields)
	}
	return &n
}

func (h *jsonHandler) Handle(ctx context.Context, r slog.Record) error {
	// Columns are added here and not by With: slog would write a key that is given twice twice.
	out := slog.NewRecord(r.Time, r.Level, r.Message, r.PC)
	target := targetOf(&r)
	if target == "" {
		target = h.target
	}
	if target == "" {
		target = "slim"
	}
	for _, c := range [][2]string{{KeyTarget, target}, {KeySpan, h.span}, {KeyThread, h.thread}} {
		if c[1] != "" {
			out.AddAttrs(slog.String(c[0], c[1]))
		}
	}
	r.Attrs(func(a slog.Attr) bool {
		if a.Key != KeyTarget {
			out.AddAttrs(a)
		}
		return true
	})
	return h.next.Handle(ctx, out)
}
