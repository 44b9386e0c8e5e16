package cli

import (
	"context"
	"fmt"
	"io"
	"log/slog"
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
	KeyTarget = "target" // upstream's module name, which filters select by
	KeySpan   = "span"   // "run{service_id=slim/0}:run_server{…}"
	KeyThread = "thread" // thread name
)

// KeyStack is the key of a goroutine's stack, which may be longer than other values.
const KeyStack = "stack"

// mainThread is the thread of records that name none.
const mainThread = "main"

// Look is what a text line shows.
type Look struct {
	ThreadNames, ThreadIDs bool
	Colour                 bool
}

// columns is what the lines of one log share. Safe for all goroutines.
type columns struct {
	mu      sync.Mutex // guards all below; held for a look at them, never for formatting
	widest  int        // longest thread name seen
	threads []string   // by id, from 1, in order of appearance
}

// thread returns how wide the column of thread names is, name in it, and the id of that thread.
func (c *columns) thread(name string) (widest, id int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.widest = max(c.widest, len(name))
	i := slices.Index(c.threads, name)
	if i < 0 {
		i = len(c.threads)
		c.threads = append(c.threads, name)
	}
	return c.widest, i + 1
}

// lineHandler writes records as upstream's lines:
//
//	TIME LEVEL [thread] [ThreadId(NN)] [span:…:] target: source line: message key=value …
//
// Immutable after With; columns and writer are shared. A record is formatted by the goroutine that logs it, in memory of its
// own, and goes to the writer in one Write.
type lineHandler struct {
	w       io.Writer
	now     func() time.Time
	look    Look
	columns *columns

	target, span, thread string
	group                string // prefix of keys
	fields               []byte // " key=value" of With
}

func newLineHandler(w io.Writer, l Look, now func() time.Time) *lineHandler {
	return &lineHandler{w: w, now: now, look: l, columns: &columns{widest: len(mainThread), threads: []string{mainThread}}, thread: mainThread}
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
		case KeyTarget:
			n.target = a.Value.String()
		case KeySpan:
			n.span = a.Value.String()
		case KeyThread:
			n.thread = a.Value.String()
		default:
			n.fields = appendField(n.fields, n.group, a)
		}
	}
	return &n
}

// lineBuffers holds memory for formatting.
var lineBuffers = sync.Pool{New: func() any { return new([]byte) }}

// keptLine bounds the buffers that are kept, in bytes.
const keptLine = 16 << 10

func (h *lineHandler) Handle(_ context.Context, r slog.Record) error {
	p := lineBuffers.Get().(*[]byte)
	b := h.appendRecord((*p)[:0], &r)
	_, err := h.w.Write(b)
	if cap(b) <= keptLine {
		*p = b
		lineBuffers.Put(p)
	}
	return err
}

func (h *lineHandler) appendRecord(b []byte, r *slog.Record) []byte {
	b = h.dim(b, h.now().UTC().Format(timeFormat))
	b = append(b, ' ')
	b = h.appendLevel(b, r.Level)
	b = append(b, ' ')
	if h.look.ThreadNames || h.look.ThreadIDs {
		b = h.appendThread(b)
	}
	if h.span != "" {
		b = append(append(b, h.span...), ": "...)
	}
	target := targetOf(r)
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
		b = append(b, escape(clip(r.Message, longText))...)
	} else if len(fields) > 0 {
		b, fields = append(b, fields[1:]...), nil
	}
	b = append(b, fields...)
	r.Attrs(func(a slog.Attr) bool {
		if a.Key == KeyTarget {
			return true
		}
		if n := len(b); b[n-1] == ' ' {
			b = b[:n-1] // no message: the first field takes its place
		}
		b = appendField(b, h.group, a)
		return true
	})
	return append(b, '\n')
}

func (h *lineHandler) appendThread(b []byte) []byte {
	widest, id := h.columns.thread(h.thread)
	if h.look.ThreadNames {
		b = append(b, strings.Repeat(" ", widest-len(h.thread))...)
		b = append(append(b, h.thread...), ' ')
	}
	if h.look.ThreadIDs {
		b = fmt.Appendf(b, "ThreadId(%02d) ", id)
	}
	return b
}

// timeFormat is RFC 3339 in UTC with microseconds.
const timeFormat = "2006-01-02T15:04:05.000000Z"

const reset = "\x1b[0m"

func (h *lineHandler) dim(b []byte, s string) []byte {
	if !h.look.Colour {
		return append(b, s...)
	}
	return append(append(append(b, "\x1b[2m"...), s...), reset...)
}

func (h *lineHandler) appendLevel(b []byte, l slog.Level) []byte {
	name, colour := levelName(l)
	if !h.look.Colour {
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
	if info, ok := v.Any().(BuildInfo); ok {
		return append(b, info.String()...)
	}
	return append(b, escapeValue(clip(v.String(), mostOf(a.Key)))...)
}

// How many bytes of a text are logged. What peers send stands in values.
const (
	valueText = 256
	errorText = 1 << 10 // what to do often stands at its end, after names of files
	longText  = 8 << 10 // of a message and of a stack
)

// mostOf returns how much of the value of a key is logged.
func mostOf(key string) int {
	switch key {
	case KeyStack:
		return longText
	case "error":
		return errorText
	}
	return valueText
}

// clip cuts s to most bytes, at the boundary of a character, and says how long it was.
func clip(s string, most int) string {
	if len(s) <= most {
		return s
	}
	end := most
	for end > most-utf8.UTFMax && !utf8.RuneStart(s[end]) {
		end--
	}
	return fmt.Sprintf("%s… (%d bytes)", s[:end], len(s))
}

// escape keeps text from peers from breaking the line or driving the terminal: text with characters that do not print, such as
// those that turn its direction, or with bytes that are no UTF-8, is written with Go escapes, in quotes.
func escape(s string) string {
	if strings.ContainsFunc(s, func(r rune) bool { return r == utf8.RuneError || !unicode.IsPrint(r) }) {
		return strconv.Quote(s)
	}
	return s
}

// escapeValue is escape for what stands behind a key: it cannot look like further fields either.
func escapeValue(s string) string {
	if strings.HasPrefix(s, `"`) || strings.Contains(s, " ") && strings.Contains(s, "=") {
		return strconv.Quote(s)
	}
	return escape(s)
}
