package scenario

import (
	"context"
	"strings"
	"text/template"

	"github.com/seed31b3bfd0/slimgo/bench/load"
	"github.com/seed31b3bfd0/slimgo/bench/result"
)

// Scenario is one thing to do to a node.
type Scenario struct {
	Name  string
	About string
	Cases []result.Params // what runs when nobody says otherwise
	Kind
}

// Kind is the Go side of a scenario: what a scenario file's cases are cases of.
type Kind struct {
	kind  string
	Uses  []string // keys of Params that change it
	Blind bool     // the relay can stand in for a node: it takes no names
	Label func(result.Params) string
	// Run does it to the node of the rig and returns what it measured, also with an error.
	Run  func(context.Context, *load.Rig, result.Params) ([]result.Metric, error)
	bars func(load.Target) string // says why it cannot be driven on a node; nil: it can on all that know names
	most int                      // that can be under way for each sender; 0: any number
}

// Keys of Params that scenarios with traffic read.
const (
	pacing  = " inflight rate duration warmup"
	message = " size identity identity-size" + pacing
	courses = " total-rate stages count" // of scenarios that measure once
	talking = "sessions members size inflight count duration warmup setup-limit"
)

// talks is the label of what is said in sessions.
const talks = "{{or .Sessions 1}} sessions of {{.Members}}, {{size .Size}}, {{.Pace}}"

// kinds are all kinds in the order of their lists.
var kinds = []Kind{
	// Senders and receivers in pairs, each message for one receiver.
	traffic("p2p", "pairs"+message+courses, "{{.Pairs}}→{{.Pairs}}", func(p result.Params) cells {
		return cells{n: p.Pairs, members: 1, senders: 1}
	}),
	// One sender, each message for all members of a group.
	traffic("fanout", "fanout"+message+courses, "1→{{.Fanout}}", func(p result.Params) cells {
		return cells{n: 1, members: p.Fanout, senders: 1, all: true}
	}),
	// Many senders, one receiver. Order is judged for each sender.
	traffic("fanin", "senders"+message+courses, "{{.Senders}}→1", func(p result.Params) cells {
		return cells{n: 1, members: 1, senders: p.Senders}
	}),
	kind("anycast", "instances"+message+courses, "1→any of {{.Instances}} {{.Message}}, {{.Pace}}", anycast),
	// Several groups beside each other, each with members and senders of its own.
	traffic("groups", "groups members senders"+message+courses, "{{.Groups}} groups of {{.Members}}, {{.Senders}} senders each,",
		func(p result.Params) cells {
			return cells{n: p.Groups, members: p.Members, senders: p.Senders, all: true}
		}),
	// Short and long messages of one sender one after the other. The long ones shall not break order, nor hold the short
	// ones up for longer than their bytes take.
	traffic("mixed", "sizes pairs identity identity-size"+pacing+courses, "{{.Pairs}}→{{.Pairs}}", func(p result.Params) cells {
		return cells{n: p.Pairs, members: 1, senders: 1}
	}),
	kind("churn", "churn-rate"+message, "{{.ChurnRate}} clients/s beside 1→1 {{.Message}}, {{.Pace}}", churn),
	kind("storm", "conns setup-limit", "{{.Conns}} clients come back at once", storm),
	kind("idle", "conns size identity setup-limit"+pacing, "{{.Conns}} idle, beside 1→1 {{.Message}}, {{.Pace}}", idle),
	kind("table", "names holders size identity inflight duration warmup setup-limit",
		"{{.Names}} names on {{.Holders}} connections, {{.Message}}, {{.Pace}}", table),
	kind("slow", "fanout size identity stall stall-rate"+pacing, "1→{{.Fanout}} {{.Message}}, {{.Pace}}, one member "+
		"{{if .StallRate}}reading {{size .StallRate}}/s{{else}}stalled{{end}} for {{.Stall}}", slow),
	kind("search", "pairs size identity identity-size total-rate p99-bound duration warmup",
		"{{.Pairs}}→{{.Pairs}} {{.Message}}, highest rate with a p99 of {{.P99Bound}}", search),
	kind("soak", "pairs fanout churn-rate"+message,
		"{{.Pairs}}→{{.Pairs}} and 1→{{.Fanout}}, {{.Message}}, {{.Pace}}, {{.ChurnRate}} clients/s, for {{.Duration}}", soak),
	kind("mesh", "nodes names size identity inflight rate total-rate duration warmup setup-limit",
		"{{.Nodes}} nodes, {{.Names}} names, {{.Message}}, {{.Pace}}", mesh).limited(unlinked, 0),
	// Sessions of apps, which are part of what is measured.
	kind("session", talking, talks, sessions(true)).limited(veiled, mostUnder),
	kind("mls", talking, talks, sessions(false)).limited(veiled, mostUnder),
	// Calls of apps, likewise.
	kind("rpc", "fanout replies size inflight count duration warmup setup-limit",
		"1→{{.Fanout}} calls, {{if gt .Replies 1}}{{.Replies}} replies of {{end}}{{size .Size}}, {{.Pace}}", callers).limited(veiled, mostUnder),
}

// kind makes one whose label is a template over its parameters.
func kind(name, uses, label string, run func(context.Context, *load.Rig, result.Params) ([]result.Metric, error)) Kind {
	t := template.Must(template.New(name).Funcs(template.FuncMap{"size": load.SizeText}).Parse(label))
	return Kind{kind: name, Uses: strings.Fields(uses), Run: run, Label: func(p result.Params) string {
		var b strings.Builder
		if err := t.Execute(&b, p); err != nil {
			panic(err) // of a label above, which tests print
		}
		return b.String()
	}}
}

func (k Kind) limited(bars func(load.Target) string, most int) Kind {
	k.bars, k.most = bars, most
	return k
}

// traffic makes one that is nothing but messages between some cells, which any node can carry.
func traffic(name, uses, label string, cells func(p result.Params) cells) Kind {
	k := kind(name, uses, label+" {{.Message}}, {{.Pace}}", once(cells))
	k.Blind = true
	return k
}
