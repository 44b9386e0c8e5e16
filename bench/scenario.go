package bench

import (
	"context"

	"github.com/seed31b3bfd0/slimgo/bench/result"
)

// Scenario is one thing to do to a node.
type Scenario struct {
	Name  string
	About string
	Uses  []string        // keys of Params that change it
	Blind bool            // the relay can stand in for a node: it takes no names
	Nats  bool            // it can be driven against NATS
	Cases []result.Params // what runs when nobody says otherwise
	Label func(result.Params) string
	// Run does it to the node of the rig and returns what it measured, also with an error.
	Run func(context.Context, *Rig, result.Params) ([]result.Metric, error)
}

// kind is the Go side of a scenario: what a scenario file's cases are cases of.
type kind struct {
	name        string
	uses        []string
	blind, nats bool
	label       func(result.Params) string
	run         func(context.Context, *Rig, result.Params) ([]result.Metric, error)
}

// kinds returns all kinds in the order of their lists.
func kinds() []kind {
	return []kind{p2p(), fanout(), fanin(), anycast(), groups(), mixed(), churn(), storm(), idle(), table(), slow(), soak()}
}
