package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"

	"github.com/seed31b3bfd0/slimgo/config"
	"github.com/seed31b3bfd0/slimgo/internal/cli"
)

// failure is an error with upstream's texts in front of it, outermost first.
type failure struct {
	context []string
	cause   error // nil: the texts say all
}

func (f *failure) Error() string {
	texts := f.context
	if f.cause != nil {
		texts = append(texts[:len(texts):len(texts)], f.cause.Error())
	}
	return strings.Join(texts, ": ")
}

func (f *failure) Unwrap() error { return f.cause }

// strictError turns warnings into the refusal of --strict-config.
func strictError(warnings []config.Warning) error {
	e := &config.Error{Context: []string{"failed to load configuration", "--strict-config refuses warnings"}}
	for _, w := range warnings {
		e.Reasons = append(e.Reasons, config.Reason(w))
	}
	return e
}

// reporter says on standard error what keeps the program from running: in text as upstream, or in the form of a JSON log.
type reporter struct {
	w    io.Writer
	json *slog.Logger // nil: text
}

// useJSON makes every report from now on a JSON object a line.
func (r *reporter) useJSON(now func() time.Time) {
	r.json = cli.NewLogger(r.w, cli.LogOptions{JSON: true, Now: now})
}

// failed reports an error: what failed, then the causes from the outermost to the innermost.
func (r *reporter) failed(err error) {
	outer, causes := err.Error(), []string(nil)
	var f *failure
	var c *config.Error
	switch {
	case errors.As(err, &f):
		outer, causes = f.context[0], f.context[1:]
		if f.cause != nil {
			causes = append(causes[:len(causes):len(causes)], f.cause.Error())
		}
	case errors.As(err, &c):
		outer, causes = c.Context[0], c.Causes()
	}
	if r.json != nil {
		r.json.Error(outer, "causes", causes)
		return
	}
	var b strings.Builder
	fmt.Fprintf(&b, "Error: %s\n", outer)
	if len(causes) > 0 {
		b.WriteString("\nCaused by:\n")
	}
	for i, text := range causes {
		if len(causes) == 1 {
			fmt.Fprintf(&b, "    %s\n", text)
		} else {
			fmt.Fprintf(&b, "%5d: %s\n", i, text)
		}
	}
	io.WriteString(r.w, b.String())
}

// more says that so many faults are left, the first among them, and what tells all.
func (r *reporter) more(first string, count int, command string) {
	if r.json != nil {
		r.json.Error("the configuration has further faults", "count", count, "first", first, "all", command)
		return
	}
	if count == 1 {
		fmt.Fprintf(r.w, "\nAnother fault of the file (all of them: %s):\n    %s\n", command, first)
		return
	}
	fmt.Fprintf(r.w, "\n%d further faults of the file (all of them: %s), the first:\n    %s\n", count, command, first)
}

// misused reports a wrong command line.
func (r *reporter) misused(err error) {
	if r.json != nil {
		r.json.Error("wrong command line", "error", err)
		return
	}
	fmt.Fprintf(r.w, "error: %v\n\nUsage: %s\n\nFor more information, try '--help'.\n", err, usageLine)
}

// warn reports what is no error by itself.
func (r *reporter) warn(text string) {
	if r.json != nil {
		r.json.Warn(text)
		return
	}
	fmt.Fprintf(r.w, "warning: %s\n", text)
}
