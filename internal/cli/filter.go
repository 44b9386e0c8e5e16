package cli

import (
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
)

// Levels beside slog's own.
const (
	LevelTrace = slog.LevelDebug - 4
	LevelOff   = slog.LevelError + 4
)

// LevelWords are the names of the levels, the most talkative first.
var LevelWords = []string{"trace", "debug", "info", "warn", "error", "off"}

// parseLevel reads a level word in any case, or upstream's number for it (0 off, 1 error … 5 trace).
func parseLevel(s string) (slog.Level, bool) {
	switch strings.ToLower(s) {
	case "trace", "5":
		return LevelTrace, true
	case "debug", "4":
		return slog.LevelDebug, true
	case "info", "3":
		return slog.LevelInfo, true
	case "warn", "2":
		return slog.LevelWarn, true
	case "error", "1":
		return slog.LevelError, true
	case "off", "0":
		return LevelOff, true
	}
	return 0, false
}

// Filter says which records are shown. The zero value shows none. Safe for all.
type Filter struct{ now atomic.Pointer[directives] }

// Become makes f show what o shows, in every logger that has f.
func (f *Filter) Become(o *Filter) { f.now.Store(o.now.Load()) }

// directives are what a filter consists of at one time. Immutable once they are a filter's.
type directives []directive

// current returns the directives that hold now.
func (f *Filter) current() *directives {
	if d := f.now.Load(); d != nil {
		return d
	}
	return &noDirectives
}

var noDirectives directives

// directive shows the records of targets that begin with prefix from level on.
type directive struct {
	prefix string
	level  slog.Level
}

// level returns the lowest level shown for a target: that of the longest matching directive, off if none matches.
func (f *directives) level(target string) slog.Level {
	best, level := -1, LevelOff
	for _, d := range *f {
		if len(d.prefix) > best && strings.HasPrefix(target, d.prefix) {
			best, level = len(d.prefix), d.level
		}
	}
	return level
}

// lowest returns the lowest level that any target shows.
func (f *directives) lowest() slog.Level {
	level := LevelOff
	for _, d := range *f {
		level = min(level, d.level)
	}
	return level
}

// set adds a directive; the last of equal prefixes holds.
func (f *directives) set(prefix string, l slog.Level) {
	*f = slices.DeleteFunc(*f, func(d directive) bool { return d.prefix == prefix })
	*f = append(*f, directive{prefix, l})
}

// add adds a directive as RUST_LOG writes it: "level", "target" or "target=level". What is none is dropped, as upstream.
func (f *directives) add(s string) {
	s = strings.TrimSpace(s)
	prefix, word, found := strings.Cut(s, "=")
	level, ok := parseLevel(word)
	switch {
	case s == "" || strings.ContainsAny(s, "[]{}"): // span filters select nothing here
	case found && ok:
		f.set(prefix, level)
	case found:
	default:
		if level, ok = parseLevel(s); ok {
			f.set("", level)
		} else {
			f.set(s, LevelTrace)
		}
	}
}

// Selection is what a filter is made of. Override goes before RustLog, RustLog before Level and Modules.
type Selection struct {
	Level    string   // of Modules that name none; what is no level word counts as info
	Modules  []string // "module" or "module=level"; none: all
	RustLog  *string  // the variable RUST_LOG; nil: not set
	Override string   // --log-level: instead of Level; "": not given
}

// NewFilter makes a filter by upstream's rules.
func NewFilter(s Selection) *Filter {
	f := &Filter{}
	f.now.Store(chosen(s))
	return f
}

func chosen(s Selection) *directives {
	f := &directives{}
	if s.Override == "" && s.RustLog != nil {
		directives := strings.Split(*s.RustLog, ",")
		if !slices.ContainsFunc(directives, func(d string) bool { return slices.Contains(LevelWords, d) }) {
			directives = append(directives, "off")
		}
		for _, d := range directives {
			f.add(d)
		}
		return f
	}
	word := s.Level
	if s.Override != "" {
		word = s.Override
	}
	level, ok := parseLevel(word)
	if !ok || !slices.Contains(LevelWords, strings.ToLower(word)) {
		level = slog.LevelInfo
	}
	if len(s.Modules) == 0 {
		f.set("", level)
	}
	for _, m := range s.Modules {
		if strings.Contains(m, "=") {
			f.add(m)
		} else {
			f.set(m, level)
		}
	}
	return f
}
