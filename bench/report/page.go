package report

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"slices"
	"strings"

	"github.com/seed31b3bfd0/slimgo/bench/process"
	"github.com/seed31b3bfd0/slimgo/bench/result"
)

//go:embed page.html
var pageText string

var pageTemplate = template.Must(template.New("page").Funcs(template.FuncMap{
	"when": when, "kind": kindOf, "untold": untold, "sections": sections, "seen": seen, "whole": whole,
	"typed": func(args []string) string { return process.Quote(args...) },
	"time":  func(ns float64) string { return result.Format(ns, result.Nanoseconds) },
}).Parse(pageText))

// page is what the template sees.
type page struct {
	*result.Results
	State, Counts string
	Verdicts      []result.Verdict // what did not pass first, as it is what a reader looks for
}

// writeHTML writes the page. It is complete in itself: no script, no request.
func writeHTML(w io.Writer, r *result.Results) error {
	p := page{Results: r, Verdicts: slices.Clone(r.Verdicts)}
	p.State, p.Counts = state(r)
	order := []result.Outcome{result.Fail, result.Unclear, result.Skipped, result.Pass}
	slices.SortStableFunc(p.Verdicts, func(a, b result.Verdict) int {
		return slices.Index(order, a.Outcome) - slices.Index(order, b.Outcome)
	})
	return pageTemplate.Execute(w, p)
}

// when is the begin of a run.
func when(r *result.Results) string { return r.Begun.UTC().Format("2006-01-02 15:04 UTC") }

// seen is what a verdict is about.
func seen(v result.Verdict) string {
	if v.Rounds == 0 {
		return v.Reason
	}
	return v.Figures()
}

// maxMarkdown keeps a summary within what CI systems show, in bytes.
const maxMarkdown = 60 << 10

// writeMarkdown writes a summary for a job page: how it ended, what did not pass, and the text form, folded.
func writeMarkdown(w io.Writer, r *result.Results) error {
	var text strings.Builder
	if err := writeText(&text, r, false); err != nil {
		return err
	}
	all := template.HTMLEscapeString(text.String())
	if len(all) > maxMarkdown {
		all = all[:strings.LastIndexByte(all[:maxMarkdown], '\n')+1] + "… further cases: see the full report\n"
	}
	var failed strings.Builder
	for _, v := range r.Verdicts {
		if v.Outcome != result.Pass {
			fmt.Fprintf(&failed, "- `%s`\n", strings.NewReplacer("`", "'", "\n", " ").Replace(v.String()))
		}
	}
	word, counts := state(r)
	_, err := fmt.Fprintf(w, "## slim-bench: %s\n\n%s %s\n\n%s\n<details><summary>all figures</summary>\n\n<pre>\n%s</pre>\n</details>\n",
		word, when(r), counts, failed.String(), all)
	return err
}
