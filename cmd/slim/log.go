package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"
)

// Keys of attributes that are columns of a line, not fields. Logger.With takes them all, a record the target.
const (
	keyTarget = "target" // upstream's module name, which filters select by
	keySpan   = "span"   // "run{service_id=slim/0}:run_server{…}"
	keyThread = "thread" // thread name
)

// gate lets through what the filter shows for the target of its logger.
type gate struct {
	next   slog.Handler
	filter *filter
	level  slog.Level // of the logger's target
}

func newGate(next slog.Handler, f *filter) *gate { return &gate{next, f, f.level("slim")} }

// Enabled admits what some target may show, because a record can bring its own; Handle decides.
func (g *gate) Enabled(_ context.Context, l slog.Level) bool {
	return l >= min(g.level, g.filter.lowest())
}

func (g *gate) Handle(ctx context.Context, r slog.Record) error {
	level := g.level
	if target := targetOf(&r); target != "" {
		level = g.filter.level(target)
	}
	if r.Level < level {
		return nil
	}
	return g.next.Handle(ctx, r)
}

// targetOf returns the target that a record brings itself, "" if none.
func targetOf(r *slog.Record) (target string) {
	r.Attrs(func(a slog.Attr) bool {
		if a.Key == keyTarget {
			target = a.Value.String()
		}
		return target == ""
	})
	return target
}

func (g *gate) WithAttrs(attrs []slog.Attr) slog.Handler {
	n := *g
	for _, a := range attrs {
		if a.Key == keyTarget {
			n.level = g.filter.level(a.Value.String())
		}
	}
	n.next = g.next.WithAttrs(attrs)
	return &n
}

func (g *gate) WithGroup(name string) slog.Handler {
	n := *g
	n.next = g.next.WithGroup(name)
	return &n
}

// sink is where lines go and what they share. Safe for all goroutines.
type sink struct {
	now func() time.Time

	mu      sync.Mutex // guards all below; one Write a line
	w       io.Writer
	line    []byte
	widest  int            // longest thread name seen
	threads map[string]int // thread name to id, in order of appearance
}

// look is what a line shows.
type look struct{ names, ids, colour bool }

// lineHandler writes records as upstream's lines:
//
//	TIME LEVEL [thread] [ThreadId(NN)] [span:…:] target: source line: message key=value …
//
// Immutable after With; the sink is shared.
type lineHandler struct {
	sink *sink
	look look

	target, span, thread string
	group                string // prefix of keys
	fields               []byte // " key=value" of With
}

func (h *lineHandler) Enabled(context.Context, slog.Level) bool { return true }

func (h *lineHandler) WithGroup(name string) slog.Handler {
	n := *h
	n.group += name + "."
	return &n
}

func (h *lineHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	n := *h
	n.fields = slices.Clone(h.fields)
	for _, a := range attrs {
		switch a.Key {
		case keyTarget:
			n.target = a.Value.String()
		case keySpan:
			n.span = a.Value.String()
		case keyThread:
			n.thread = a.Value.String()
		default:
			n.fields = appendField(n.fields, n.group, a)
		}
	}
	return &n
}

func (h *lineHandler) Handle(_ context.Context, r slog.Record) error {
	s := h.sink
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.line[:0]
	b = h.dim(b, s.now().UTC().Format(timeFormat))
	b = append(b, ' ')
	b = h.appendLevel(b, r.Level)
	b = append(b, ' ')
	if h.look.names {
		s.widest = max(s.widest, len(h.thread))
		b = append(b, strings.Repeat(" ", s.widest-len(h.thread))...)
		b = append(append(b, h.thread...), ' ')
	}
	if h.look.ids {
		id, ok := s.threads[h.thread]
		if !ok {
			id = len(s.threads) + 1
			s.threads[h.thread] = id
		}
		b = fmt.Appendf(b, "ThreadId(%02d) ", id)
	}
	if h.span != "" {
		b = append(append(b, h.span...), ": "...)
	}
	target := targetOf(&r)
	if target == "" {
		target = h.target
	}
	if target == "" {
		target = "slim"
	}
	b = append(h.dim(b, target+":"), ' ')
	if f, _ := runtime.CallersFrames([]uintptr{r.PC}).Next(); f.Line > 0 {
		b = append(strconv.AppendInt(b, int64(f.Line), 10), ": "...)
	}
	fields := h.fields
	if r.Message != "" {
		b = append(b, escape(r.Message)...)
	} else if len(fields) > 0 {
		b, fields = append(b, fields[1:]...), nil
	}
	b = append(b, fields...)
	r.Attrs(func(a slog.Attr) bool {
		if a.Key == keyTarget {
			return true
		}
		if n := len(b); b[n-1] == ' ' {
			b = b[:n-1] // no message: the first field takes its place
		}
		b = appendField(b, h.group, a)
		return true
	})
	b = append(b, '\n')
	s.line = b[:0]
	if cap(b) > 64<<10 {
		s.line = nil
	}
	_, err := s.w.Write(b)
	return err
}

// timeFormat is RFC 3339 in UTC with microseconds.
const timeFormat = "2006-01-02T15:04:05.000000Z"

const reset = "\x1b[0m"

func (h *lineHandler) dim(b []byte, s string) []byte {
	if !h.look.colour {
		return append(b, s...)
	}
	return append(append(append(b, "\x1b[2m"...), s...), reset...)
}

func (h *lineHandler) appendLevel(b []byte, l slog.Level) []byte {
	name, colour := levelName(l)
	if !h.look.colour {
		return fmt.Appendf(b, "%5s", name)
	}
	return fmt.Appendf(b, "%s%5s%s", colour, name, reset)
}

func levelName(l slog.Level) (name, colour string) {
	switch {
	case l < slog.LevelDebug:
		return "TRACE", "\x1b[35m"
	case l < slog.LevelInfo:
		return "DEBUG", "\x1b[34m"
	case l < slog.LevelWarn:
		return "INFO", "\x1b[32m"
	case l < slog.LevelError:
		return "WARN", "\x1b[33m"
	}
	return "ERROR", "\x1b[31m"
}

// appendField appends " key=value". The build's four lines are the one value that may break a line.
func appendField(b []byte, group string, a slog.Attr) []byte {
	v := a.Value.Resolve()
	if v.Kind() == slog.KindGroup {
		if a.Key != "" {
			group += a.Key + "."
		}
		for _, m := range v.Group() {
			b = appendField(b, group, m)
		}
		return b
	}
	b = append(append(append(append(b, ' '), group...), a.Key...), '=')
	if info, ok := v.Any().(buildInfo); ok {
		return append(b, info.String()...)
	}
	return append(b, escape(v.String())...)
}

// escape keeps text from peers from breaking the line or driving the terminal: control characters and bytes that are
// no UTF-8 are written as Go escapes, in quotes.
func escape(s string) string {
	bad := func(r rune) bool { return r == utf8.RuneError || unicode.IsControl(r) }
	if strings.ContainsFunc(s, bad) {
		return strconv.Quote(s)
	}
	return s
}

// isTerminal reports whether w is a character device, which takes colours.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
