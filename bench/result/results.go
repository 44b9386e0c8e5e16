package result

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/seed31b3bfd0/slimgo/bench/load"
	"github.com/seed31b3bfd0/slimgo/bench/process"
	"github.com/seed31b3bfd0/slimgo/internal/cli"
)

// Schema is the version of the JSON form of Results. It goes up when a field changes its meaning or goes away.
const Schema = 3

// Results are the figures of one run.
type Results struct {
	Schema   int             `json:"schema"`
	Version  string          `json:"version,omitempty"` // of slim-bench, with the commit it was built from
	Begun    time.Time       `json:"begun"`
	Machine  process.Machine `json:"machine"`
	Command  []string        `json:"command,omitempty"` // arguments of slim-bench
	Suite    string          `json:"suite,omitempty"`
	Busy     string          `json:"busy,omitempty"` // what else the machine did; empty: nothing that disturbs
	Rounds   int             `json:"rounds"`
	Alpha    float64         `json:"alpha,omitempty"` // of a comparison: its intervals hold with 1-Alpha; 0: this is a run
	Nodes    []NodeInfo      `json:"nodes"`           // the first is what the others are compared with
	Cases    []CaseResult    `json:"cases"`
	Verdicts []Verdict       `json:"verdicts,omitempty"`
	Valid    bool            `json:"valid"`
	Invalid  []string        `json:"invalid,omitempty"` // why it is not, beside the doubts of cases

	optional    []string // names that conditions may have although there is no such node
	interrupted bool
}

// NodeInfo is a node of a run.
type NodeInfo struct {
	Name      string   `json:"name"`
	Protocol  string   `json:"protocol"`
	Command   string   `json:"command,omitempty"`
	Addresses []string `json:"addresses,omitempty"`
	Note      string   `json:"note,omitempty"` // what is to be known of its figures
}

// CaseResult is one case on all nodes.
type CaseResult struct {
	Scenario string       `json:"scenario"`
	Label    string       `json:"label"`
	Params   Params       `json:"params"`
	Nodes    []NodeResult `json:"nodes"` // as Results.Nodes
}

// NodeResult is one case on one node.
type NodeResult struct {
	Metrics []Series `json:"metrics"`
	Rounds  []Round  `json:"rounds,omitempty"`
	Doubts  []Doubt  `json:"doubts,omitempty"`
	Skipped string   `json:"skipped,omitempty"` // why the case was not measured on this node
}

// Round is the course of one measurement.
type Round struct {
	Number    int           `json:"round"`    // from 1
	Turn      int           `json:"position"` // of the node in the order of the round, from 0
	Begun     time.Time     `json:"begun"`
	Samples   []load.Sample `json:"samples,omitempty"`
	Histogram string        `json:"histogram,omitempty"` // as load.Latency.Histogram: all delays of the phase
	Notes     []string      `json:"notes,omitempty"`     // what else there is to say
}

// Series is one metric over all rounds.
type Series struct {
	Name   string    `json:"name"`
	Unit   Unit      `json:"unit"`
	Better Better    `json:"better,omitempty"`
	Value  float64   `json:"value"`  // the median, or of Worst metrics the worst
	Values []float64 `json:"values"` // by round
	Rounds []int     `json:"rounds"` // numbers of the rounds of Values
	Worst  bool      `json:"worst,omitempty"`
}

// Times is the series as a multiple of another node's, by rounds that both have, as what drifts in the machine between
// rounds meets both of a pair; of what the worst round stands for, or without such rounds, of the values. Its value is 0
// where there is none.
func (s Series) Times(of Series) Series {
	each := s.byRound(of)
	switch {
	case len(each.Values) > 0 && !s.Worst:
		return each
	case of.Value == 0:
		return Series{}
	}
	return Series{Value: s.Value / of.Value, Worst: s.Worst}
}

// byRound divides s by of in each round that both have, where there is something to divide by.
func (s Series) byRound(of Series) (times Series) {
	for i, round := range s.Rounds {
		if j := slices.Index(of.Rounds, round); j >= 0 && of.Values[j] > 0 {
			times.add(s.Values[i]/of.Values[j], round)
		}
	}
	return times
}

// Spread is half the range of the middle half of the rounds, as a share of their median; 0: there is none, or one round.
func (s Series) Spread() float64 {
	m := median(s.Values)
	if len(s.Values) < 2 || m == 0 {
		return 0
	}
	v := slices.Sorted(slices.Values(s.Values))
	cut := len(v) / 4
	return (v[len(v)-1-cut] - v[cut]) / 2 / m
}

// NewResults are those of a run of so many rounds, without nodes and cases. Conditions may name optional nodes that are
// not there.
func NewResults(rounds int, optional []string) *Results {
	b := cli.ReadBuildInfo()
	return &Results{Schema: Schema, Version: strings.TrimSpace(b.Version + " " + b.SHA), Begun: time.Now().UTC().Truncate(time.Second),
		Machine: process.ThisMachine(), Rounds: rounds, Valid: true, optional: optional}
}

// Interrupt notes that the run was ended early, so that nothing is missing because it was not measured. why makes the run
// invalid; it is empty where the run ended as it was asked to.
func (r *Results) Interrupt(why string) {
	r.interrupted = true
	if why != "" {
		r.invalidate(why)
	}
}

// Add takes one round of case i on node k.
func (r *Results) Add(i, k int, ms []Metric, course Round, err error) {
	n := &r.Cases[i].Nodes[k]
	n.Rounds = append(n.Rounds, course)
	if err != nil {
		n.Doubts = append(n.Doubts, Doubt{Failed, fmt.Sprintf("round %d: %v", course.Number, err)})
	}
	for _, m := range ms {
		if math.IsNaN(m.Value) || math.IsInf(m.Value, 0) {
			continue
		}
		j := slices.IndexFunc(n.Metrics, func(s Series) bool { return s.Name == m.Name })
		if j < 0 {
			j = len(n.Metrics)
			n.Metrics = append(n.Metrics, Series{Name: m.Name, Unit: m.Unit, Better: m.Better, Worst: m.Worst})
		}
		n.Metrics[j].add(m.Value, course.Number)
	}
}

// add takes the value of a round.
func (s *Series) add(value float64, round int) {
	s.Values = append(s.Values, value)
	s.Rounds = append(s.Rounds, round)
	switch {
	case !s.Worst:
		s.Value = median(s.Values)
	case s.Better == Higher:
		s.Value = slices.Min(s.Values)
	default:
		s.Value = slices.Max(s.Values)
	}
}

// Settle judges validity and conditions, of which require returns those of a case, when nothing more is measured. last is how
// many rounds there could have been.
func (r *Results) Settle(require func(i int) []Condition, last int) {
	for i := range r.Cases {
		r.review(i)
		for _, cond := range require(i) {
			v := r.Judge(i, cond, last)
			r.Verdicts = append(r.Verdicts, v)
			told := slices.ContainsFunc(r.Cases[i].Nodes[0].Doubts, func(d Doubt) bool { return d.Kind == Failed })
			if v.Outcome == Unclear && !told {
				r.invalidate(fmt.Sprintf("%s: %s: %s", v.Case, v.Condition, v.Reason))
			}
		}
	}
	if !r.interrupted {
		r.vacuous()
	}
	r.Valid = len(r.Reasons()) == 0
}

// vacuous finds what would pass only because nothing was looked at: a run that measured nothing, a condition that no case
// could be held against. Conditions on optional nodes are the exception.
func (r *Results) vacuous() {
	why := "there are no cases"
	measured := false
	for _, c := range r.Cases {
		measured = measured || len(c.Nodes[0].Rounds) > 0
		why = c.Nodes[0].Skipped
	}
	if !measured {
		r.invalidate(fmt.Sprintf("nothing was measured on %s: %s", r.Nodes[0].Name, why))
	}
	skipped := map[string]string{}
	for _, v := range r.Verdicts {
		if was, seen := skipped[v.Condition]; v.Outcome != Skipped || v.absent || seen && was == "" {
			skipped[v.Condition] = ""
		} else {
			skipped[v.Condition] = v.Reason
		}
	}
	for _, condition := range slices.Sorted(maps.Keys(skipped)) {
		if why := skipped[condition]; why != "" {
			r.invalidate(fmt.Sprintf("%s was judged in no case: %s", condition, why))
		}
	}
}

// Look judges case i by what was measured until now: whether a condition fails, and whether one needs more rounds than that.
func (r *Results) Look(i int, require []Condition, last int) (broken, unclear bool) {
	r.review(i)
	for _, cond := range require {
		v := r.Judge(i, cond, last)
		broken, unclear = broken || v.Outcome == Fail, unclear || v.more
	}
	return broken, unclear
}

func (r *Results) invalidate(why string) {
	r.Valid = false
	r.Invalid = append(r.Invalid, why)
}

// Reasons are all for which the results are not valid: Invalid, and the doubts of cases.
func (r *Results) Reasons() []string {
	all := slices.Clone(r.Invalid)
	for _, c := range r.Cases {
		for k, n := range c.Nodes {
			for _, d := range n.Doubts {
				if d.Kind != Limited {
					all = append(all, fmt.Sprintf("%s %s on %s: %s", c.Scenario, c.Label, r.Nodes[k].Name, d.Text))
				}
			}
		}
	}
	return all
}

// Failed returns the verdicts on conditions that do not hold.
func (r *Results) Failed() []Verdict {
	return slices.DeleteFunc(slices.Clone(r.Verdicts), func(v Verdict) bool { return v.Outcome != Fail })
}

// at is the index of a node; -1: there is none of that name.
func (r *Results) at(name string) int {
	return slices.IndexFunc(r.Nodes, func(n NodeInfo) bool { return n.Name == name })
}

// MetricNames lists the metrics of all nodes, in the order of the first node that has them.
func MetricNames(nodes ...NodeResult) (names []string) {
	for _, n := range nodes {
		for _, s := range n.Metrics {
			if !slices.Contains(names, s.Name) {
				names = append(names, s.Name)
			}
		}
	}
	return names
}

// Metric finds a series by name.
func (n NodeResult) Metric(name string) (Series, bool) {
	if i := slices.IndexFunc(n.Metrics, func(s Series) bool { return s.Name == name }); i >= 0 {
		return n.Metrics[i], true
	}
	return Series{}, false
}

func (n NodeResult) damaged() bool {
	return slices.ContainsFunc(n.Metrics, func(s Series) bool { return len(s.Values) == 0 || len(s.Values) != len(s.Rounds) })
}

// WriteJSON writes the results, indented.
func (r *Results) WriteJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(r)
}

// ReadJSON reads results that WriteJSON wrote.
func ReadJSON(rd io.Reader) (*Results, error) {
	var r Results
	if err := json.NewDecoder(rd).Decode(&r); err != nil {
		return nil, fmt.Errorf("not results of slim-bench: %w", err)
	}
	if r.Schema != Schema {
		return nil, fmt.Errorf("results have schema %d, this slim-bench reads %d: measure again with one version", r.Schema, Schema)
	}
	if len(r.Nodes) == 0 {
		return nil, errors.New("not results of slim-bench: there are no nodes")
	}
	for _, c := range r.Cases {
		if len(c.Nodes) != len(r.Nodes) || slices.ContainsFunc(c.Nodes, NodeResult.damaged) {
			return nil, fmt.Errorf("not results of slim-bench: case %s %s has %d nodes, the run %d, or a metric not one value for each of its rounds",
				c.Scenario, c.Label, len(c.Nodes), len(r.Nodes))
		}
	}
	return &r, nil
}
