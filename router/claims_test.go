package router

import (
	"strings"
	"testing"

	"github.com/seed31b3bfd0/slimgo/router/table"
	"github.com/seed31b3bfd0/slimgo/wire"
)

func TestWhatAClaimIsGranted(t *testing.T) {
	for _, tc := range []struct {
		rule  string
		kind  wire.LinkKind
		relay bool
		want  grant
	}{
		{"edge", wire.LinkEdge, false, grant{table.Edge, table.All}},
		{"remote", wire.LinkRemote, false, grant{table.Remote, table.All}},
		{"what the protocol does not know is remote", 77, false, grant{table.Remote, table.All}},
		{"peer of a full mesh: what it publishes goes to no peer", wire.LinkPeer, false,
			grant{table.Peer, table.All.Without(table.Peer)}},
		{"peer by hand: what it publishes is relayed", wire.LinkPeer, true, grant{table.Peer, table.All}},
	} {
		o := Options{Listen: []string{"127.0.0.1:0"}, RelayPeerPublishes: tc.relay}
		if err := o.fill(); err != nil {
			t.Fatal(err)
		}
		if got, err := newClaims(&o).admit(claim{kind: tc.kind}); got != tc.want || err != nil {
			t.Errorf("%s: %+v, %v; want %+v", tc.rule, got, err, tc.want)
		}
	}
}

func TestClaimsAreBounded(t *testing.T) {
	edge, peer, remote := claim{kind: wire.LinkEdge}, claim{kind: wire.LinkPeer}, claim{kind: wire.LinkRemote}
	for _, tc := range []struct {
		rule    string
		o       Options
		granted []claim // before
		claim   claim
		want    string // "": granted
	}{
		{"all kinds by default", Options{}, nil, peer, ""},
		{"a kind that is not accepted", Options{AcceptKinds: claimable.Without(table.Remote)}, nil, remote,
			"connections of kind remote are not accepted here, only peer,edge (--accept-kinds)"},
		{"peers of the node", Options{MaxPeers: 2}, []claim{peer, peer, edge}, peer,
			"too many links of kind peer at this node: the limit is 2 (--max-peers)"},
		{"others are not counted with them", Options{MaxPeers: 2}, []claim{peer, edge}, peer, ""},
		{"peers of one socket", Options{}, nil, claim{kind: wire.LinkPeer, socket: peersPerSocket},
			"too many links of kind peer on one socket: the limit is 4"},
		{"remote links of the node", Options{MaxRemotes: 1}, []claim{remote}, remote,
			"too many links of kind remote at this node: the limit is 1 (--max-remotes)"},
		{"edges have no limit of their own", Options{MaxRemotes: 1, MaxPeers: 1}, []claim{edge},
			claim{kind: wire.LinkEdge, socket: 99}, ""},
	} {
		tc.o.Listen = []string{"127.0.0.1:0"}
		if err := tc.o.fill(); err != nil {
			t.Fatal(err)
		}
		c := newClaims(&tc.o)
		for _, x := range tc.granted {
			if _, err := c.admit(x); err != nil {
				t.Fatalf("%s: %v", tc.rule, err)
			}
		}
		for range 3 { // a refusal takes no place
			_, err := c.admit(tc.claim)
			if got := text(err); got != tc.want {
				t.Errorf("%s: %q, want %q", tc.rule, got, tc.want)
			}
			if err == nil {
				break
			}
		}
		if k := kindOf(tc.claim.kind); len(tc.granted) > 0 && tc.want != "" { // and one that ends makes room
			if c.release(k); text(second(c.admit(tc.claim))) != "" {
				t.Errorf("%s: refused although one has ended", tc.rule)
			}
		}
	}
}

func second[A, B any](_ A, b B) B { return b }

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestParseKinds(t *testing.T) {
	for in, want := range map[string]string{"edge": "edge", "edge, peer": "peer,edge",
		"remote,edge,peer,edge": "remote,peer,edge", "": "!", "local": "!", "edge,": "!", "Edge": "!", "all": "!"} {
		f, err := ParseKinds(in)
		got := f.String()
		if err != nil {
			got = "!"
			if !strings.Contains(err.Error(), "want some of edge, remote and peer") {
				t.Errorf("%q: %v", in, err)
			}
		}
		if got != want {
			t.Errorf("%q: %s, want %s", in, got, want)
		}
	}
}

func TestOptionsThatCannotBe(t *testing.T) {
	for _, o := range []Options{{MaxNames: -1}, {MaxNameBytes: -1}, {MaxSockets: -1}, {MaxConnections: -1},
		{MaxUnfinished: MinMaxUnfinished - 1}, {MaxQueued: MinMaxQueued - 1}, {MaxPeers: -1}, {MaxPeers: 257}, {MaxRemotes: -1},
		{AcceptKinds: table.All}} {
		o.Listen = []string{"127.0.0.1:0"}
		if err := o.fill(); err == nil {
			t.Errorf("%+v was taken", o)
		}
	}
}
