package report

import (
	"cmp"
	_ "embed"
	"encoding/csv"
	"errors"
	"fmt"
	"html/template"
	"io"
	"maps"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	hdr "github.com/HdrHistogram/hdrhistogram-go"

	"github.com/seed31b3bfd0/slimgo/bench/process"
	"github.com/seed31b3bfd0/slimgo/bench/result"
)

// Form is one way to write results.
type Form struct {
	Name, About string
	Write       func(io.Writer, *result.Results) error
}

// Forms returns all forms.
func Forms() []Form {
	return []Form{
		{"text", "tables for people", writeText},
		{"histogram", "how delays are spread, as bars of text", writeHistogram},
		{"json", "everything (docs/bench-json.md)", func(w io.Writer, r *result.Results) error { return r.WriteJSON(w) }},
		{"csv", "a line for each figure of each round", writeCSV},
		{"prometheus", "gauges, for a textfile collector or a push gateway", writePrometheus},
		{"hdr", "all delays, as an HdrHistogram log", writeHDR},
		{"markdown", "a summary for the page of a CI job", writeMarkdown},
		{"html", "a page", writeHTML},
	}
}

// Save writes a file, which is there whole or not at all.
func Save(path string, write func(io.Writer) error) error {
	tmp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-")
	if err != nil {
		return err
	}
	err = errors.Join(write(tmp), tmp.Chmod(0o644), tmp.Close())
	if err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err != nil {
		_ = os.Remove(tmp.Name())
	}
	return err
}

// Prepare makes sure that Save can write to path, before there is anything to lose. A device or a link is refused: it would go.
func Prepare(path string) error {
	if i, err := os.Lstat(path); err == nil && !i.Mode().IsRegular() {
		return fmt.Errorf("%s is no file that a report may replace (%v): name another; without =FILE it goes to standard output", path, i.Mode())
	}
	err := os.MkdirAll(filepath.Dir(path), 0o755)
	probe, bad := os.CreateTemp(filepath.Dir(path), ".writable-")
	if err = cmp.Or(err, bad); err == nil {
		err = errors.Join(probe.Close(), os.Remove(probe.Name()))
	}
	if err != nil {
		return fmt.Errorf("no report can be written into %s: %w; name another folder, or make this one writable", filepath.Dir(path), err)
	}
	return nil
}

// each calls f with all series of a run, what they are of, and why they are not the node's, if they are not.
func each(r *result.Results, f func(c *result.CaseResult, node string, s result.Series, limited string)) {
	for i := range r.Cases {
		for k, n := range r.Cases[i].Nodes {
			for _, s := range n.Metrics {
				f(&r.Cases[i], r.Nodes[k].Name, s, n.Marked(s.Name))
			}
		}
	}
}

// writeCSV writes a line for each value: values are in the unit named, as in JSON.
func writeCSV(w io.Writer, r *result.Results) error {
	lines := [][]string{{"scenario", "case", "node", "metric", "unit", "round", "value", "limited"}}
	each(r, func(c *result.CaseResult, node string, s result.Series, limited string) {
		for i, v := range s.Values {
			lines = append(lines, []string{c.Scenario, c.Label, node, s.Name, string(s.Unit), strconv.Itoa(s.Rounds[i]),
				strconv.FormatFloat(v, 'g', -1, 64), limited})
		}
	})
	return csv.NewWriter(w).WriteAll(lines)
}

// suffixes are units as they stand in names of Prometheus, of those that do stand there: seconds for our nanoseconds.
var suffixes = map[result.Unit]string{
	result.Nanoseconds: "_seconds", result.Bytes: "_bytes", result.BytesPerSecond: "_bytes_per_second", result.BytesPerHour: "_bytes_per_hour",
	result.PerSecond: "_per_second", result.PerHour: "_per_hour", result.Ratio: "_ratio",
}

// unnamed is what names of Prometheus do not have.
var (
	unnamed  = regexp.MustCompile(`[^a-z0-9]+`)
	labelled = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`)
)

// writePrometheus writes a gauge for each metric, with its value over the rounds, in Prometheus' text format.
func writePrometheus(w io.Writer, r *result.Results) error {
	families := map[string][]string{}
	add := func(name, labels string, v float64) {
		name = "slim_bench_" + name
		families[name] = append(families[name], fmt.Sprintf("%s%s %g", name, labels, v))
	}
	truth := map[bool]float64{true: 1}
	add("valid", "", truth[r.Valid])
	add("busy", "", truth[r.Busy != ""])
	add("begun_seconds", "", float64(r.Begun.Unix()))
	times := map[string]int{} // that a series has come: cases may be called alike
	each(r, func(c *result.CaseResult, node string, s result.Series, limited string) {
		name := strings.Trim(unnamed.ReplaceAllString(strings.ToLower(s.Name), "_"), "_") + suffixes[s.Unit]
		labels := fmt.Sprintf(`{scenario="%s",case="%s",node="%s"`, labelled.Replace(c.Scenario), labelled.Replace(c.Label),
			labelled.Replace(node))
		if times[name+labels]++; times[name+labels] > 1 {
			labels += fmt.Sprintf(`,again="%d"`, times[name+labels])
		}
		if limited != "" {
			labels += `,limited="true"`
		}
		if s.Unit == result.Nanoseconds {
			s.Value /= 1e9
		}
		add(name, labels+"}", s.Value)
	})
	for _, name := range slices.Sorted(maps.Keys(families)) {
		text := fmt.Sprintf("# TYPE %s gauge\n%s\n", name, strings.Join(families[name], "\n"))
		if _, err := io.WriteString(w, text); err != nil {
			return err
		}
	}
	return nil
}

// untagged is what tags of an HdrHistogram log do not have.
var untagged = regexp.MustCompile(`[\s,]+`)

// writeHDR writes all delays of each round as an interval of an HdrHistogram log, tagged with case and node.
func writeHDR(w io.Writer, r *result.Results) error {
	log := hdr.NewHistogramLogWriter(w)
	log.SetBaseTime(r.Begun.UnixMilli())
	err := errors.Join(log.OutputLogFormatVersion(), log.OutputStartTime(r.Begun.UnixMilli()), log.OutputLegend())
	for _, c := range sections(r) {
		for k, n := range c.Nodes {
			name := c.Title() + " on " + r.Nodes[k].Name
			for _, round := range n.Rounds {
				h, bad := delays(round)
				if bad != nil {
					return fmt.Errorf("%s: %w", name, bad)
				}
				if h == nil {
					continue
				}
				if why := n.Marked("p50"); why != "" {
					err = errors.Join(err, log.OutputComment(" the next is not the node's alone: "+why))
				}
				from := round.Begun.Add(c.Params.Warmup)
				h.SetTag(untagged.ReplaceAllString(name, "_"))
				h.SetStartTimeMs(from.UnixMilli())
				h.SetEndTimeMs(from.Add(c.Params.Duration).UnixMilli())
				err = errors.Join(err, log.OutputIntervalHistogram(h))
			}
		}
	}
	return err
}

// spread is how the delays of a case on a node lie, over all its rounds.
type spread struct {
	Title string // of the node, and how many they are
	Bars  []bar
	Mark  string // why they are not the node's alone; empty: they are
}

// bar is a range of delays up to 1, 2 or 5 times a power of ten.
type bar struct {
	To    float64 // nanoseconds
	N     int64
	Share float64 // of the longest bar
	of    int64   // all delays
}

// Spreads are those of all nodes with delays.
func (s section) Spreads() (all []spread, err error) {
	for k, n := range s.Nodes {
		name := s.run.Nodes[k].Name
		h, err := delays(n.Rounds...)
		if err != nil {
			return nil, fmt.Errorf("%s on %s: %w", s.Title(), name, err)
		}
		if h != nil {
			all = append(all, spread{fmt.Sprintf("%s: %s delays", name, whole(h.TotalCount())), bars(h), n.Marked("p50")})
		}
	}
	return all, nil
}

// delays are all of some rounds; nil: there are none.
func delays(rounds ...result.Round) (sum *hdr.Histogram, err error) {
	for _, round := range rounds {
		if round.Histogram == "" {
			continue
		}
		h, err := hdr.Decode([]byte(round.Histogram))
		if err != nil {
			return nil, fmt.Errorf("delays of round %d: %w", round.Number, err)
		}
		if sum == nil {
			sum = h
		} else if n := sum.Merge(h); n > 0 {
			return nil, fmt.Errorf("delays of round %d: %d are beyond the range of another round", round.Number, n)
		}
	}
	return sum, nil
}

// writeHistogram draws the spreads of all cases.
func writeHistogram(w io.Writer, r *result.Results) error {
	var b strings.Builder
	for _, c := range sections(r) {
		all, err := c.Spreads()
		if err != nil {
			return err
		}
		for _, x := range all {
			fmt.Fprintf(&b, "%s on %s\n", c.Title(), x.Title)
			for _, bar := range x.Bars {
				fmt.Fprintln(&b, strings.TrimRight("  "+bar.String(), " "))
			}
			if x.Mark != "" {
				fmt.Fprintf(&b, "  ! * %s\n", x.Mark)
			}
		}
	}
	if b.Len() == 0 {
		b.WriteString("no delays were measured\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func whole(n int64) string { return result.Format(float64(n), result.Count) }

// barWidth is how many characters the longest bar has.
const barWidth = 50

// String is a line of text.
func (b bar) String() string {
	return fmt.Sprintf("up to %7s %6.2f%% %12s %s", result.Format(b.To, result.Nanoseconds), 100*float64(b.N)/float64(b.of), whole(b.N),
		strings.Repeat("█", int(math.Ceil(barWidth*b.Share))))
}

// bars are those from the least delay to the longest, also where there is none between them.
func bars(h *hdr.Histogram) (all []bar) {
	most := int64(0)
	for _, d := range h.Distribution() {
		if d.Count == 0 {
			continue
		}
		to := roundUp(float64(d.To))
		if len(all) == 0 {
			all = []bar{{To: to}}
		}
		for last := all[len(all)-1].To; last < to; {
			last = roundUp(last * 1.01)
			all = append(all, bar{To: last})
		}
		last := &all[len(all)-1]
		last.N += d.Count
		most = max(most, last.N)
	}
	for i := range all {
		all[i].Share, all[i].of = float64(all[i].N)/float64(most), h.TotalCount()
	}
	return all
}

// roundUp rounds up to 1, 2 or 5 times a power of ten.
func roundUp(v float64) float64 {
	unit := math.Pow(10, math.Floor(math.Log10(v)))
	for _, m := range []float64{1, 2, 5} {
		if v <= m*unit*(1+1e-9) {
			return m * unit
		}
	}
	return 10 * unit
}

//go:embed page.html
var pageText string

var pageTemplate = template.Must(template.New("page").Funcs(template.FuncMap{
	"when": when, "kind": kindOf, "untold": untold, "sections": sections, "whole": whole,
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

// maxMarkdown keeps a summary within what CI systems show, in bytes.
const maxMarkdown = 60 << 10

// writeMarkdown writes a summary for a job page: how it ended, what did not pass, and the text form, folded.
func writeMarkdown(w io.Writer, r *result.Results) error {
	var text strings.Builder
	if err := writeText(&text, r); err != nil {
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
