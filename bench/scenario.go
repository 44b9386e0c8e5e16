package bench

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// Scenario is one thing to do to a node.
type Scenario struct {
	Name  string
	About string
	Uses  []string        // names of the flags that change it
	Cases func() []Params // what runs when no flag says otherwise
	Label func(Params) string
	Run   func(context.Context, *Rig, Params) ([]Metric, error)
}

// Scenarios returns all scenarios in the order of their lists.
func Scenarios() []Scenario {
	return []Scenario{p2p(), fanout(), idle(), table(), slow()}
}

// Find returns the scenario of that name; the error names the nearest one.
func Find(name string) (Scenario, error) {
	all := Scenarios()
	if i := slices.IndexFunc(all, func(s Scenario) bool { return s.Name == name }); i >= 0 {
		return all[i], nil
	}
	nearest := slices.MinFunc(all, func(a, b Scenario) int { return distance(a.Name, name) - distance(b.Name, name) })
	return Scenario{}, fmt.Errorf("no scenario %q; did you mean %s? (slim-bench list)", name, nearest.Name)
}

// distance is the number of single letters to insert, delete or replace between a and b.
func distance(a, b string) int {
	a, b = strings.ToLower(a), strings.ToLower(b)
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		corner := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := corner
			if a[i] != b[j] {
				cost++
			}
			corner = row[j+1]
			row[j+1] = min(cost, row[j]+1, corner+1)
		}
	}
	return row[len(b)]
}
