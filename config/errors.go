package config

import (
	"fmt"
	"slices"
	"strings"

	"github.com/seed31b3bfd0/slimgo/internal/suggest"
)

// Outermost texts of a failed start, as upstream words them (tools match them).
const (
	contextLoad     = "failed to load configuration"
	contextRuntime  = "invalid runtime configuration"
	contextTracing  = "invalid tracing configuration"
	contextServices = "error loading services"
	contextStart    = "failed to start service"

	providerError = "config provider error"
)

// Error says why a configuration was refused. Rules: P-conf-4.
type Error struct {
	// Context holds upstream's texts, outermost first: the step that failed, then the class of the fault.
	Context []string
	// Reasons says what is wrong and where; more than one only for features that are not supported yet.
	Reasons []Reason
}

// Reason is one fault of a configuration.
type Reason struct {
	File     string
	Position Position
	Path     string // key path, "services.slim/0.dataplane.servers[0].endpoint"; "": the file as a whole
	Text     string
	Nearest  string // the known key that resembles an unknown one; "": none does
	Hint     string // what to do; "": the text says it, or nobody knows
}

// String returns FILE:LINE:COLUMN: PATH: TEXT, with the nearest key and the hint if there are any.
func (r Reason) String() string {
	var b strings.Builder
	writePlace(&b, r.File, r.Position)
	if r.Path != "" && !strings.Contains(r.Text, r.Path) {
		b.WriteString(r.Path + ": ")
	}
	b.WriteString(r.Text)
	if r.Nearest != "" {
		fmt.Fprintf(&b, "; did you mean `%s`?", r.Nearest)
	}
	if r.Hint != "" {
		b.WriteString("; " + r.Hint)
	}
	return b.String()
}

// Causes returns the texts behind the outermost one, each the reason of the one before it.
func (e *Error) Causes() []string {
	out := slices.Clone(e.Context[1:])
	for _, r := range e.Reasons {
		out = append(out, r.String())
	}
	return out
}

func (e *Error) Error() string {
	return strings.Join(append([]string{e.Context[0]}, e.Causes()...), ": ")
}

// near notes the known key nearest to an unknown one.
func (e *Error) near(key string, known []string) { e.Reasons[0].Nearest = nearest(key, known) }

// hint notes what to do about an error.
func (e *Error) hint(text string) { e.Reasons[0].Hint = text }

// lead is Reason.lead for an error's only reason.
func (e *Error) lead(block, key string, known []string) { e.Reasons[0].lead(block, key, known) }

// Warning is something upstream accepts without a word, but that does not do what the file says.
type Warning Reason

func (w Warning) String() string { return Reason(w).String() }

func writePlace(b *strings.Builder, file string, p Position) {
	if file != "" {
		b.WriteString(file)
		b.WriteByte(':')
	}
	if p.Line > 0 {
		fmt.Fprintf(b, "%d:%d:", p.Line, p.Column)
	}
	if b.Len() > 0 {
		b.WriteByte(' ')
	}
}

// renamed holds keys of older or other files whose successor no spelling distance finds.
var renamed = map[string]string{
	"group_name": "domain_name", "filter": "filters", "permit_without_stream": "keep_alive_while_idle",
}

// nearest returns the known key that an unknown one most likely stands for, "" if none is near.
func nearest(key string, known []string) string {
	if to := renamed[key]; slices.Contains(known, to) {
		return to
	}
	return suggest.Nearest(key, known)
}
