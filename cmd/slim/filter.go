package main

import (
	"log/slog"
	"slices"
	"strings"

	"github.com/seed31b3bfd0/slimgo/config"
)

// Levels beside slog's own.
const (
	levelTrace = slog.LevelDebug - 4
	levelOff   = slog.LevelError + 4
)

var levelWords = []string{"trace", "debug", "info", "warn", "error", "off"}

// parseLevel reads a level word in any case, or upstream's number for it (0 off, 1 error … 5 trace).
func parseLevel(s string) (slog.Level, bool) {
	switch strings.ToLower(s) {
	case "trace", "5":
		return levelTrace, true
	case "debug", "4":
		return slog.LevelDebug, true
	case "info", "3":
		return slog.LevelInfo, true
	case "warn", "2":
		return slog.LevelWarn, true
	case "error", "1":
		return slog.LevelError, true
	case "off", "0":
		return levelOff, true
	}
	return 0, false
}

// filter says which records are shown. The zero value shows none. Immutable after newFilter.
type filter struct{ directives []directive }

// directive shows the records of targets that begin with prefix from level on.
type directive struct {
	prefix string
	level  slog.Level
}

// level returns the lowest level shown for a target: that of the longest matching directive, off if none matches.
func (f *filter) level(target string) slog.Level {
	best, level := -1, levelOff
	for _, d := range f.directives {
		if len(d.prefix) > best && strings.HasPrefix(target, d.prefix) {
			best, level = len(d.prefix), d.level
		}
	}
	return level
}

// lowest returns the lowest level that any target shows.
func (f *filter) lowest() slog.Level {
	level := levelOff
	for _, d := range f.directives {
		level = min(level, d.level)
	}
	return level
}

// set adds a directive; the last of equal prefixes holds.
func (f *filter) set(prefix string, l slog.Level) {
	f.directives = slices.DeleteFunc(f.directives, func(d directive) bool { return d.prefix == prefix })
	f.directives = append(f.directives, directive{prefix, l})
}

// add adds a directive as RUST_LOG writes it: "level", "target" or "target=level". What is none is dropped, as upstream.
func (f *filter) add(s string) {
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
			f.set(s, levelTrace)
		}
	}
}

// newFilter chooses what is shown: override (--log-level) goes before RUST_LOG, RUST_LOG before the configuration.
func newFilter(t *config.Tracing, rustLog string, rustLogSet bool, override string) *filter {
	f := &filter{}
	if override == "" && rustLogSet {
		directives := strings.Split(rustLog, ",")
		if !slices.ContainsFunc(directives, func(s string) bool { return slices.Contains(levelWords, s) }) {
			directives = append(directives, "off")
		}
		for _, s := range directives {
			f.add(s)
		}
		return f
	}
	word := t.LogLevel
	if override != "" {
		word = override
	}
	level, ok := parseLevel(word)
	if !ok || !slices.Contains(levelWords, strings.ToLower(word)) {
		level = slog.LevelInfo
	}
	if len(t.Filters) == 0 {
		f.set("", level)
	}
	for _, s := range t.Filters {
		if strings.Contains(s, "=") {
			f.add(s)
		} else {
			f.set(s, level)
		}
	}
	return f
}
