package report

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"regexp"
	"slices"
	"strings"

	"github.com/seed31b3bfd0/slimgo/bench/result"
)

//go:embed page.html
var pageText string

var pageTemplate = template.Must(template.New("page").Funcs(template.FuncMap{"seen": seen, "typed": typed}).Parse(pageText))

// page is what the template sees.
type page struct {
	*result.Results
	When, State, Counts string
	Figures             string // what they are
	Styles              template.CSS
	Untold              []string
	Verdicts            []result.Verdict // what did not pass first, as it is what a reader looks for
	Summary             table
	Sections            []section
}

// writeHTML writes the page. It is complete in itself: no script, no request.
func writeHTML(w io.Writer, r *result.Results) error {
	p := page{Results: r, When: when(r), Figures: kindOf(r), Styles: styles(), Untold: untold(r), Summary: summary(r),
		Sections: sections(r), Verdicts: slices.Clone(r.Verdicts)}
	p.State, p.Counts = state(r)
	order := []result.Outcome{result.Fail, result.Unclear, result.Skipped, result.Pass}
	slices.SortStableFunc(p.Verdicts, func(a, b result.Verdict) int {
		return slices.Index(order, a.Outcome) - slices.Index(order, b.Outcome)
	})
	return pageTemplate.Execute(w, p)
}

// when is the begin of a run.
func when(r *result.Results) string { return r.Begun.UTC().Format("2006-01-02 15:04 UTC") }

// plainWord is what a shell takes as it is.
var plainWord = regexp.MustCompile(`^[\w@%+=:,./-]+$`)

// typed quotes arguments for a shell where they need it.
func typed(args []string) string {
	var words []string
	for _, a := range args {
		if !plainWord.MatchString(a) {
			a = "'" + strings.ReplaceAll(a, "'", `'\''`) + "'"
		}
		words = append(words, a)
	}
	return strings.Join(words, " ")
}

// styles are the colours of lines and legends.
func styles() template.CSS {
	var light, dark strings.Builder
	for i, c := range palette {
		fmt.Fprintf(&light, ".n%d{stroke:%s;stroke-dasharray:%s}.dot.n%d{fill:%s}", i, c.Light, c.Dash, i, c.Light)
		fmt.Fprintf(&dark, ".n%d{stroke:%s}.dot.n%d{fill:%s}", i, c.Dark, i, c.Dark)
	}
	return template.CSS(light.String() + "@media(prefers-color-scheme:dark){" + dark.String() + "}")
}
