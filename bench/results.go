package bench

import (
	"encoding/json"
	"io"
	"slices"
	"time"

	"github.com/seed31b3bfd0/slimgo/bench/process"
)

// Schema is the version of the JSON form of Results. It goes up when a field changes its meaning or goes away.
const Schema = 1

// Results are the figures of one run.
type Results struct {
	Schema  int             `json:"schema"`
	Tool    string          `json:"tool,omitempty"` // version of slim-bench
	Begun   time.Time       `json:"begun"`
	Machine process.Machine `json:"machine"`
	Command []string        `json:"command,omitempty"` // arguments of slim-bench
	Rounds  int             `json:"rounds"`
	Nodes   []NodeInfo      `json:"nodes"` // the first is what the others are compared with
	Cases   []CaseResult    `json:"cases"`
}

// NodeInfo is a node of a run.
type NodeInfo struct {
	Name     string `json:"name"`
	Protocol string `json:"protocol"`
	Command  string `json:"command,omitempty"`
	Address  string `json:"address,omitempty"`
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
	Errors  []string `json:"errors,omitempty"`
}

// Series is one metric over the rounds.
type Series struct {
	Name   string    `json:"name"`
	Unit   Unit      `json:"unit"`
	Better Better    `json:"better,omitempty"`
	Value  float64   `json:"value"`  // the median, or of Worst metrics the worst
	Values []float64 `json:"values"` // by round
	Worst  bool      `json:"worst,omitempty"`
}

func newResults(p Plan) *Results {
	r := &Results{Schema: Schema, Begun: time.Now().UTC().Truncate(time.Second), Machine: process.ThisMachine(), Rounds: p.Rounds}
	for _, t := range p.Targets {
		r.Nodes = append(r.Nodes, NodeInfo{Name: t.Name, Protocol: t.Dialer.Protocol(), Command: t.Command.Text, Address: t.Addr})
	}
	for _, c := range p.Cases {
		c.Params.IdentityText = c.Params.Identity.String()
		r.Cases = append(r.Cases, CaseResult{
			Scenario: c.Scenario.Name, Label: c.Scenario.Label(c.Params), Params: c.Params,
			Nodes: make([]NodeResult, len(p.Targets)),
		})
	}
	return r
}

// add takes one round of case i on node k.
func (r *Results) add(i, k int, ms []Metric, err error) {
	n := &r.Cases[i].Nodes[k]
	if err != nil {
		n.Errors = append(n.Errors, err.Error())
	}
	for _, m := range ms {
		j := slices.IndexFunc(n.Metrics, func(s Series) bool { return s.Name == m.Name })
		if j < 0 {
			j = len(n.Metrics)
			n.Metrics = append(n.Metrics, Series{Name: m.Name, Unit: m.Unit, Better: m.Better, Worst: m.Worst})
		}
		s := &n.Metrics[j]
		s.Values = append(s.Values, m.Value)
		switch {
		case !s.Worst:
			s.Value = Median(s.Values)
		case s.Better == Higher:
			s.Value = slices.Min(s.Values)
		default:
			s.Value = slices.Max(s.Values)
		}
	}
}

// Metric finds a series by name.
func (n NodeResult) Metric(name string) (Series, bool) {
	for _, s := range n.Metrics {
		if s.Name == name {
			return s, true
		}
	}
	return Series{}, false
}

// WriteJSON writes the results, indented.
func (r *Results) WriteJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(r)
}
