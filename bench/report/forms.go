package report

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	hdr "github.com/HdrHistogram/hdrhistogram-go"

	"github.com/seed31b3bfd0/slimgo/bench/result"
)

// Form is one way to write results.
type Form struct {
	Name, About string
	// Write writes r whole; colour is for a terminal, and only text has any.
	Write func(w io.Writer, r *result.Results, colour bool) error
}

// Forms returns all forms.
func Forms() []Form {
	plain := func(write func(io.Writer, *result.Results) error) func(io.Writer, *result.Results, bool) error {
		return func(w io.Writer, r *result.Results, _ bool) error { return write(w, r) }
	}
	return []Form{
		{"text", "tables for people", writeText},
		{"histogram", "how delays are spread, as bars of text", plain(writeHistogram)},
		{"json", "everything (docs/bench-json.md)", plain(func(w io.Writer, r *result.Results) error { return r.WriteJSON(w) })},
		{"csv", "a line for each figure of each round", plain(writeCSV)},
		{"prometheus", "gauges, for a textfile collector or a push gateway", plain(writePrometheus)},
		{"hdr", "all delays, as an HdrHistogram log", plain(writeHDR)},
		{"markdown", "a summary for the page of a CI job", plain(writeMarkdown)},
		{"html", "a page with plots", plain(writeHTML)},
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

// MakeDir makes sure that files can be written into dir, before there is anything to lose.
func MakeDir(dir string) error {
	err := os.MkdirAll(dir, 0o755)
	if err == nil {
		var probe *os.File
		if probe, err = os.CreateTemp(dir, ".writable-"); err == nil {
			err = errors.Join(probe.Close(), os.Remove(probe.Name()))
		}
	}
	if err != nil {
		return fmt.Errorf("no report can be written into %s: %w; name another folder, or make this one writable", dir, err)
	}
	return nil
}

// WriteDir writes index.html, summary.md and results.json into dir, which is made if need be.
func WriteDir(dir string, r *result.Results) error {
	if err := MakeDir(dir); err != nil {
		return err
	}
	names := map[string]string{"html": "index.html", "markdown": "summary.md", "json": "results.json"}
	var errs []error
	for _, f := range Forms() {
		if name := names[f.Name]; name != "" {
			errs = append(errs, Save(filepath.Join(dir, name), func(w io.Writer) error { return f.Write(w, r, false) }))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("the report in %s is not complete: %w; make room there, or name another folder", dir, err)
	}
	return nil
}

// each calls f with all series of a run and what they are of.
func each(r *result.Results, f func(c *result.CaseResult, node string, s result.Series)) {
	for i := range r.Cases {
		for k, n := range r.Cases[i].Nodes {
			for _, s := range n.Metrics {
				f(&r.Cases[i], r.Nodes[k].Name, s)
			}
		}
	}
}

// writeCSV writes a line for each value: values are in the unit named, as in JSON.
func writeCSV(w io.Writer, r *result.Results) error {
	lines := [][]string{{"scenario", "case", "node", "metric", "unit", "round", "value"}}
	each(r, func(c *result.CaseResult, node string, s result.Series) {
		for i, v := range s.Values {
			lines = append(lines, []string{c.Scenario, c.Label, node, s.Name, string(s.Unit), strconv.Itoa(s.Rounds[i]),
				strconv.FormatFloat(v, 'g', -1, 64)})
		}
	})
	return csv.NewWriter(w).WriteAll(lines)
}

// gauges are the base units of Prometheus, as they stand in names, and how many of ours one is.
var gauges = map[result.Unit]struct {
	suffix string
	per    float64
}{
	result.Nanoseconds: {"_seconds", 1e9}, result.Bytes: {"_bytes", 1}, result.BytesPerSecond: {"_bytes_per_second", 1},
	result.BytesPerHour: {"_bytes_per_hour", 1}, result.PerSecond: {"_per_second", 1}, result.PerHour: {"_per_hour", 1},
	result.Ratio: {"_ratio", 1}, result.Cores: {"", 1}, result.Count: {"", 1},
}

// unnamed is what names of Prometheus do not have.
var (
	unnamed  = regexp.MustCompile(`[^a-z0-9]+`)
	labelled = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`)
)

// writePrometheus writes a gauge for each metric, with its value over the rounds, in Prometheus' text format.
func writePrometheus(w io.Writer, r *result.Results) error {
	valid := 0
	if r.Valid {
		valid = 1
	}
	families := map[string][]string{
		"slim_bench_valid":         {fmt.Sprintf("slim_bench_valid %d", valid)},
		"slim_bench_begun_seconds": {fmt.Sprintf("slim_bench_begun_seconds %d", r.Begun.Unix())},
	}
	times := map[string]int{} // that a series has come: cases may be called alike
	each(r, func(c *result.CaseResult, node string, s result.Series) {
		unit := gauges[s.Unit]
		name := "slim_bench_" + strings.Trim(unnamed.ReplaceAllString(strings.ToLower(s.Name), "_"), "_") + unit.suffix
		series := fmt.Sprintf(`%s{scenario="%s",case="%s",node="%s"`, name, labelled.Replace(c.Scenario), labelled.Replace(c.Label),
			labelled.Replace(node))
		if times[series]++; times[series] > 1 {
			series += fmt.Sprintf(`,again="%d"`, times[series])
		}
		families[name] = append(families[name], fmt.Sprintf("%s} %g", series, s.Value/unit.per))
	})
	for _, name := range slices.Sorted(maps.Keys(families)) {
		text := fmt.Sprintf("# TYPE %s gauge\n%s\n", name, strings.Join(families[name], "\n"))
		if _, err := io.WriteString(w, text); err != nil {
			return err
		}
	}
	return nil
}

// recorded calls f with all delays of each round, as far as there are any.
func recorded(r *result.Results, f func(c *result.CaseResult, node string, round result.Round, h *hdr.Histogram) error) error {
	for i := range r.Cases {
		c := &r.Cases[i]
		for k, n := range c.Nodes {
			for _, round := range n.Rounds {
				if round.Histogram == "" {
					continue
				}
				h, err := hdr.Decode([]byte(round.Histogram))
				if err == nil {
					err = f(c, r.Nodes[k].Name, round, h)
				}
				if err != nil {
					return fmt.Errorf("delays of %s %s on %s in round %d: %w", c.Scenario, c.Label, r.Nodes[k].Name, round.Number, err)
				}
			}
		}
	}
	return nil
}

// untagged is what tags of an HdrHistogram log do not have.
var untagged = regexp.MustCompile(`[\s,]+`)

// writeHDR writes all delays of each round as an interval of an HdrHistogram log, tagged with case and node.
func writeHDR(w io.Writer, r *result.Results) error {
	log := hdr.NewHistogramLogWriter(w)
	begun := r.Begun.UnixMilli()
	log.SetBaseTime(begun)
	return errors.Join(log.OutputLogFormatVersion(), log.OutputStartTime(begun), log.OutputLegend(),
		recorded(r, func(c *result.CaseResult, node string, round result.Round, h *hdr.Histogram) error {
			from := round.Begun.Add(c.Params.Warmup)
			h.SetTag(untagged.ReplaceAllString(c.Scenario+" "+c.Label+" "+node, "_"))
			h.SetStartTimeMs(from.UnixMilli())
			h.SetEndTimeMs(from.Add(c.Params.Duration).UnixMilli())
			return log.OutputIntervalHistogram(h)
		}))
}
