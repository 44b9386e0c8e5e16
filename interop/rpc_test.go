//go:build interop

package interop

import (
	"fmt"
	"slices"
	"testing"
)

const server, client = "org/ns/server", "org/ns/client"

// responses runs an rpc-call and returns the texts of its responses in order of arrival.
func (n *node) responses(t *testing.T, args ...string) []string {
	t.Helper()
	p := n.opened(t, "rpc-call", client, args...)
	summary := p.succeed(t)
	if summary.number("failed") != 0 {
		t.Errorf("%s: %v", p.label, summary)
	}
	var texts []string
	for {
		e := p.take(0, func(e event) bool { return e.kind() == "response" })
		if e == nil {
			return texts
		}
		texts = append(texts, e.text("text"))
	}
}

func wantTexts(t *testing.T, what string, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: responses %q, want %q", what, got, want)
	}
}

func each(prefix string, n int) []string {
	texts := make([]string, 0, n)
	for i := range n {
		texts = append(texts, fmt.Sprintf("%s%d", prefix, i))
	}
	return texts
}

func TestRPCOfAllKinds(t *testing.T) {
	onBoth(t, func(t *testing.T, k kind) {
		n := startNode(t, k)
		s := n.app(t, "rpc-serve", server)
		to := []string{"--to", server, "--kind"}
		for _, c := range []struct {
			kind string
			args []string
			want []string
		}{
			{"unary", []string{"--payload", "hi"}, []string{"echo:hi"}},
			{"server-stream", []string{"--count", "100"}, each("item ", 100)},
			{"client-stream", []string{"--payload", "abc", "--payload", "de"}, []string{"2 items 5 bytes"}},
			{"bidi", []string{"--count", "50"}, each("echo:up ", 50)},
			{"bidi", []string{"--count", "10", "--alternate"}, each("echo:up ", 10)},
		} {
			args := append(append(to[:2:2], to[2], c.kind), c.args...)
			wantTexts(t, c.kind, n.responses(t, args...), c.want)
		}

		n.run(t, "rpc-call", client, "--to", server, "--repeat", "20", "--parallel", "10", "--quiet")
		wantCalls(t, s, "Unary", 201)
		for _, method := range []string{"Down", "Up", "Bidi", "Bidi"} {
			wantCalls(t, s, method, 1)
		}

		p := n.peer(t, "rpc-call", client, "--to", server, "--method", "Fail")
		if e := p.expect(t, "error"); e.text("code") != "NOT_FOUND" {
			t.Errorf("failing call: %v, want NOT_FOUND", e)
		}
		p.exit(t, limit)
	})
}

// wantCalls wants that the server saw n more calls of a method.
func wantCalls(t *testing.T, s *app, method string, n int) {
	t.Helper()
	for i := range n {
		if s.take(limit, func(e event) bool { return e.kind() == "call" && e.text("method") == method }) == nil {
			t.Fatalf("%s: %d calls of %s, want %d", s.label, i, method, n)
		}
	}
}

func TestRPCToAGroup(t *testing.T) {
	onBoth(t, func(t *testing.T, k kind) {
		n := startNode(t, k)
		const servers = 3
		args := []string{"--group", "--payload", "hi"}
		var all []*app
		for i := range servers {
			name := fmt.Sprintf("%s%d", server, i)
			all = append(all, n.app(t, "rpc-serve", name))
			args = append(args, "--to", name)
		}
		wantTexts(t, "group call", n.responses(t, args...), slices.Repeat([]string{"echo:hi"}, servers))
		for _, s := range all {
			wantCalls(t, s, "Unary", 1)
		}
	})
}
