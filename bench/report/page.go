package report

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"regexp"
	"slices"
	"strings"

	"github.com/seed31b3bfd0/slimgo/bench/load"
	"github.com/seed31b3bfd0/slimgo/bench/result"
)

//go:embed page.html
var pageText string

var pageTemplate = template.Must(template.New("page").Parse(pageText))

// page is what the template sees.
type page struct {
	*result.Results
	When    string
	State   string // one word
	Machine string
	Styles  template.CSS
	Figures string // what they are
	Untold  []string
	Typed   string // the command, as a shell takes it
	Counts  string
	Verdict []verdict
	Summary [][]cell
	Heads   []string
	Cases   []section
}

type verdict struct {
	Class string
	result.Verdict
	Text string
}

// section is one case.
type section struct {
	ID, Title string
	Notes     []note
	Legend    []legend
	Faint     bool // there are lines of earlier rounds
	Plots     []plot
	Heads     []string
	Rows      [][]cell
}

type legend struct {
	Name  string
	Color int
}

// WriteHTML writes the page. It is complete in itself: no script, no request.
func WriteHTML(w io.Writer, r *result.Results) error {
	m := r.Machine
	p := page{Results: r, When: when(r), Styles: styles(),
		Machine: fmt.Sprintf("%s, %d cores, %s %s, %s", m.CPU, m.Cores, m.OS, m.Kernel, m.Go), Figures: kindOf(r), Untold: untold(r)}
	p.State, p.Counts = state(r)
	p.Typed = typed(r.Command)
	for _, v := range bySeverity(r.Verdicts) {
		p.Verdict = append(p.Verdict, verdict{Class: string(v.Outcome), Verdict: v, Text: seen(v)})
	}
	p.Heads, p.Summary = summary(r)
	for i := range r.Cases {
		p.Cases = append(p.Cases, caseSection(r, i))
	}
	return pageTemplate.Execute(w, p)
}

// when is the begin of a run.
func when(r *result.Results) string { return r.Begun.UTC().Format("2006-01-02 15:04 UTC") }

// bySeverity puts what did not pass first, as it is what a reader looks for.
func bySeverity(list []result.Verdict) []result.Verdict {
	order := []result.Outcome{result.Fail, result.Unclear, result.Skipped, result.Pass}
	list = slices.Clone(list)
	slices.SortStableFunc(list, func(a, b result.Verdict) int { return slices.Index(order, a.Outcome) - slices.Index(order, b.Outcome) })
	return list
}

// plain are the characters that a shell does nothing with.
var plain = regexp.MustCompile(`^[\w@%+=:,./-]+$`)

// typed quotes arguments for a shell where they need it.
func typed(args []string) string {
	var words []string
	for _, a := range args {
		if !plain.MatchString(a) {
			a = "'" + strings.ReplaceAll(a, "'", `'\''`) + "'"
		}
		words = append(words, a)
	}
	return strings.Join(words, " ")
}

func caseSection(r *result.Results, i int) section {
	c := &r.Cases[i]
	s := section{ID: fmt.Sprintf("case-%d", i), Title: c.Scenario + " " + c.Label, Heads: []string{"metric"},
		Notes: notes(r, c), Rows: metricRows(c), Plots: plots(r, c)}
	for k, n := range c.Nodes {
		if n.Skipped != "" {
			continue
		}
		name := r.Nodes[k].Name
		s.Legend = append(s.Legend, legend{name, k % len(palette)})
		s.Heads = append(s.Heads, name)
		s.Faint = s.Faint || len(n.Rounds) > 1
	}
	return s
}

var percentTicks = []float64{0, 50, 90, 99, 99.9, 99.99, 99.999}

// form writes the values of an axis so.
func form(text string) func(float64) string {
	return func(v float64) string { return fmt.Sprintf(text, v) }
}

// among writes the values of an axis in the largest unit that they reach; the last unit is for all.
func among(sizes []float64, units ...string) func(float64) string {
	return func(v float64) string {
		i := slices.IndexFunc(sizes, func(size float64) bool { return v >= size })
		if i < 0 {
			i = len(sizes) - 1
		}
		return fmt.Sprintf("%.3g%s", v/sizes[i], units[i])
	}
}

func plots(r *result.Results, c *result.CaseResult) []plot {
	seconds := axis{Label: "seconds", Format: form("%.3g")}
	ns := axis{Format: among([]float64{1e9, 1e6, 1e3, 1}, " s", " ms", " µs", " ns"), Scale: log10}
	rate := axis{Format: among([]float64{1e6, 1e3, 1}, " M", " k", "")}
	percent := axis{Label: "percentile", Scale: tail, Ticks: percentTicks, Format: form("%g")}
	var all []plot
	overTime := func(title string, y axis, value func(load.Sample) float64) {
		all = append(all, draw(r, c, plot{Title: title, X: seconds, Y: y}, func(round result.Round) (at []point) {
			some := false
			for _, s := range inTurn(round.Samples) {
				q := value(s)
				if some = some || q != 0; y.Scale != log10 || q > 0 {
					at = append(at, point{s.At, q})
				}
			}
			if !some {
				return nil
			}
			return at
		}))
	}
	overTime("p50 of delay over time", ns, func(s load.Sample) float64 { return s.P50 })
	overTime("p99 of delay over time", ns, func(s load.Sample) float64 { return s.P99 })
	all = append(all, draw(r, c, plot{Title: "delay by percentile", X: percent, Y: ns}, func(round result.Round) (at []point) {
		for _, q := range round.Curve {
			if q.Value > 0 && q.Percentile < 100 {
				at = append(at, point{q.Percentile, q.Value})
			}
		}
		return at
	}))
	overTime("delivered a second", rate, func(s load.Sample) float64 { return s.Delivered })
	overTime("processors the node uses", axis{Format: form("%.2g")}, func(s load.Sample) float64 { return s.NodeCPU })
	overTime("resident memory of the node, MiB", axis{Format: form("%.3g")}, func(s load.Sample) float64 { return float64(s.RSS) / (1 << 20) })
	return slices.DeleteFunc(all, func(p plot) bool { return len(p.Lines) == 0 })
}

// draw gives p the lines that of makes of the rounds of each node: the last round in full, the others faint.
func draw(r *result.Results, c *result.CaseResult, p plot, of func(result.Round) []point) plot {
	for k, n := range c.Nodes {
		for i, round := range n.Rounds {
			last := i == len(n.Rounds)-1
			if at := of(round); len(at) > 0 {
				p.Lines = append(p.Lines, line{Name: r.Nodes[k].Name, Color: k, At: at, Faint: !last})
			}
			if k == 0 && last && p.X.Scale == linear {
				p.Breaks = phases(inTurn(round.Samples))
			}
		}
	}
	return p
}

// inTurn puts the parts of a measurement that had traffic of their own, each with a time from 0, behind each other.
func inTurn(samples []load.Sample) []load.Sample {
	all := slices.Clone(samples)
	begin := 0.0
	for i := range all {
		if i > 0 && samples[i].At < samples[i-1].At {
			begin = all[i-1].At
		}
		all[i].At += begin
	}
	return all
}

// phases are the times at which samples change their phase, with the new one's name; what is between phases has none,
// and is called as what comes before them.
func phases(samples []load.Sample) []mark {
	var at []mark
	for i := 1; i < len(samples); i++ {
		if samples[i].Phase == samples[i-1].Phase {
			continue
		}
		word := samples[i].Phase
		if word == samples[0].Phase {
			word = ""
		}
		at = append(at, mark{samples[i-1].At, word})
	}
	return at
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
