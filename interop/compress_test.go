//go:build interop

package interop

import (
	"strings"
	"testing"
)

// TestCompressionOffendsNobody: a link with the key for compression carries sessions both ways, whoever of the two
// dials. Upstream reads the key, and compresses nothing; it never sees an encoding of ours. Rules: P-comp-2, P-comp-7.
func TestCompressionOffendsNobody(t *testing.T) {
	t.Parallel()
	for _, dialler := range []kind{ours, upstream} {
		for _, word := range []string{"Zstd", "Gzip"} {
			t.Run(string(dialler)+" "+word, func(t *testing.T) {
				acceptor := map[kind]kind{ours: upstream, upstream: ours}[dialler]
				a := startNode(t, acceptor)
				d := startNode(t, dialler, strings.Replace(a.link("peer"), "{", "{compression: "+word+", ", 1))
				d.expectLine(t, map[kind]string{ours: "kind=peer link_id=", upstream: "client connected"}[dialler], 0)
				f := federation{node: d, rust: a}
				f.talk(t, d.app(t, "echo", "org/ns/at-dialler"), a.app(t, "echo", "org/ns/at-acceptor", watched...))
				for _, n := range []*node{a, d} {
					if n.kind == ours && n.count("refused") > 0 {
						t.Errorf("something was refused by node %d", n.port)
					}
				}
			})
		}
	}
}
