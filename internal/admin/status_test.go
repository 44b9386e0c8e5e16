package admin

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/seed31b3bfd0/slimgo/router"
	"github.com/seed31b3bfd0/slimgo/router/table"
)

const evil = "<script>alert(1)</script>\x1b[2J\x00\u202e\xff\n"

// Whatever peers say of themselves is printable and short.
func TestTextsOfPeersAreCleaned(t *testing.T) {
	long := evil + strings.Repeat("é", 10_000)
	n := &fakeNode{
		conns:    []router.Connection{{ID: 1, Remote: long, Agent: long, LinkID: long, Node: long, Version: long, Some: []string{long}, Names: 1}},
		names:    []router.HeldName{{Name: long, Some: []uint64{1}}},
		refusals: []router.Refusal{{Remote: long, Agent: long, Text: long}},
		deaths:   []router.Death{{Remote: long, Name: long, Source: long, Reason: router.ReasonNoMatch}},
	}
	s := serve(t, n, nil)
	x := s.look(t.Context(), "", 10).Services[0]
	c, r, d := x.Connections[0], x.Refusals[0], x.Deaths[0]
	texts := append([]string{c.Remote, c.Agent, c.LinkID, c.Node, c.Version, c.Some[0], x.Names[0].Name, r.Remote, r.Agent, r.Text,
		d.Remote, d.Name, d.Source}, s.look(t.Context(), evil, 10).Query)
	for i, text := range append(texts, x.Answers...) {
		if strings.ContainsAny(text, "\x1b\x00\n\u202e") || !utf8.ValidString(text) {
			t.Errorf("text %d is %q", i, text)
		}
		if n := utf8.RuneCountInString(text); n > 2*textLen {
			t.Errorf("text %d has %d characters", i, n)
		}
	}
	if len(x.Answers) == 0 || len(x.Answers) > 8 {
		t.Errorf("%d answers", len(x.Answers))
	}
}

func TestTroubleComesFirst(t *testing.T) {
	n := &fakeNode{}
	for id := range uint64(50) {
		n.conns = append(n.conns, router.Connection{ID: id, State: "active", Kind: table.Edge, Received: 10 * id})
	}
	n.conns[3].Stalled = time.Second
	n.conns[7].QueuedBytes, n.conns[7].Queued = 100, 1
	n.conns[9].Missed = 4
	x := serve(t, n, nil).look(t.Context(), "", 5).Services[0]
	var ids []uint64
	for _, c := range x.Connections {
		ids = append(ids, c.ID)
	}
	if want := []uint64{3, 7, 9, 49, 48}; !slices.Equal(ids, want) || x.Matching != 50 {
		t.Errorf("shown are %v of %d, want %v of 50", ids, x.Matching, want)
	}
}

// A question is answered with what has to do with it: a name brings those who hold it.
func TestQuestionFindsNamesAndTheirHolders(t *testing.T) {
	n := &fakeNode{
		conns: []router.Connection{{ID: 1, Agent: "python", State: "active"}, {ID: 2, Agent: "node", State: "active"}},
		names: []router.HeldName{{Name: "org/ns/Bob/1", Some: []uint64{2}}, {Name: "org/ns/alice/1", Some: []uint64{1}}},
	}
	s := serve(t, n, nil)
	for q, want := range map[string]string{"": "[1 2] [org/ns/Bob/1 org/ns/alice/1]", "bob": "[2] [org/ns/Bob/1]", "PYTHON": "[1] []", "nobody": "[] []"} {
		x := s.look(t.Context(), q, 10).Services[0]
		ids, names := []uint64{}, []string{}
		for _, c := range x.Connections {
			ids = append(ids, c.ID)
		}
		for _, n := range x.Names {
			names = append(names, n.Name)
		}
		if got := fmt.Sprint(ids, names); got != want {
			t.Errorf("%q finds %s, want %s", q, got, want)
		}
	}
}

// "My app gets nothing": for each cause that a node can know, the answers name it.
func TestAnswersNameTheCause(t *testing.T) {
	held := []router.HeldName{{Name: "org/ns/bob/1", Some: []uint64{4}}}
	for _, tt := range []struct {
		name string
		node fakeNode
		want string
	}{
		{"not subscribed", fakeNode{}, `No connection holds a name with "bob": the application has not subscribed here`},
		{"a sender has another name", fakeNode{deaths: []router.Death{{Conn: 3, Name: "org/ns/bob/NULL", Reason: router.ReasonNoMatch}}},
			"Connection 3 sent to org/ns/bob/NULL at 00:00:00, which nobody but perhaps itself had subscribed to."},
		{"its sender is not signed", fakeNode{deaths: []router.Death{{Conn: 3, Name: "org/ns/bob/1", Reason: router.ReasonUnsigned}}},
			"A message of connection 3 to org/ns/bob/1 died at 00:00:00: unsigned."},
		{"it does not read", fakeNode{names: held, conns: []router.Connection{{ID: 4, Remote: "1.2.3.4:5", Stalled: 90 * time.Second, Missed: 12}}},
			"Connection 4 from 1.2.3.4:5 does not read what it is sent, for 1m30s: 12 messages for it have died."},
		{"nobody sends", fakeNode{names: held, conns: []router.Connection{{ID: 4}}},
			"org/ns/bob/1 is held by connection 4, to which nothing was sent yet: look at its senders."},
		{"it gets something", fakeNode{names: held, conns: []router.Connection{{ID: 4, Delivered: 8, Queued: 2}}},
			"org/ns/bob/1 is held by connection 4, which was given 8 messages; 2 wait for it."},
		{"its link is down", fakeNode{links: []router.LinkStatus{{Endpoint: "http://up:1", State: router.LinkWaiting, Attempts: 7, Failure: "connection refused"}}},
			"The link to http://up:1 is waiting, after 7 attempts: what goes there reaches nobody. connection refused"},
		{"its link was given up", fakeNode{links: []router.LinkStatus{{Endpoint: "http://up:1", Kind: table.Edge, State: router.LinkOver, Attempts: 2}}},
			"The link to http://up:1 is over and not tried again, after 2 attempts: what goes there reaches nobody."},
		{"a peer refuses its link, which is dialled anew", fakeNode{links: []router.LinkStatus{{Endpoint: "http://up:1", Kind: table.Peer, State: router.LinkOver, Attempts: 2}}},
			"The link to http://up:1 is over, after 2 attempts: what goes there reaches nobody."},
		{"it was turned away", fakeNode{refusals: []router.Refusal{{Remote: "1.2.3.4:5", Agent: "bob", Reason: router.ReasonNegotiation, Text: "no_key"}}},
			"1.2.3.4:5 was turned away at 00:00:00: negotiation_failed no_key"},
		{"it was turned away again and again", fakeNode{refusals: []router.Refusal{{Remote: "1.2.3.4:5", Agent: "bob", Reason: router.ReasonTLSCertificate,
			Count: 9, Text: "expired"}}}, "1.2.3.4:5 was turned away 9 times, the last at 00:00:00: tls_certificate expired"},
	} {
		x := serve(t, &tt.node, nil).look(t.Context(), "bob", 10).Services[0]
		if !slices.ContainsFunc(x.Answers, func(a string) bool { return strings.HasPrefix(a, tt.want) }) {
			t.Errorf("%s: no answer says %q in %q", tt.name, tt.want, x.Answers)
		}
	}
}

// A look says which node it is of, and where that listens.
func TestStatusNamesTheNode(t *testing.T) {
	x := serve(t, &fakeNode{}, nil).look(t.Context(), "", 10).Services[0]
	if x.NodeID != "node-1" || x.Deployment != "home" || fmt.Sprint(x.Listeners) != "[http://127.0.0.1:46357 wss://127.0.0.1:46360/slim]" {
		t.Errorf("%+v", x)
	}
}

// Of many links that are down some are told of, those that are over first; the list has all.
func TestManyLinksAreDown(t *testing.T) {
	n := &fakeNode{}
	for i := range 22 {
		n.links = append(n.links, router.LinkStatus{Endpoint: fmt.Sprint("http://up:", i), Kind: table.Peer, ID: "l", State: router.LinkWaiting})
	}
	n.links[21].State = router.LinkOver
	x := serve(t, n, nil).look(t.Context(), "", 10).Services[0]
	if len(x.Links) != 22 || x.Links[7].Endpoint != "http://up:7" || x.Links[7].Kind != "peer" || x.Links[7].ID != "l" {
		t.Errorf("links %+v", x.Links)
	}
	if len(x.Answers) != 6 || !strings.HasPrefix(x.Answers[0], "The link to http://up:21 is over") || x.Answers[5] != "17 more links are not up." {
		t.Errorf("answers %q", x.Answers)
	}
}

// Who was turned away is told with how often, and by which listener it came; a question for that listener finds it.
func TestRefusalsAreToldWithTheirListener(t *testing.T) {
	first, last := time.Unix(100, 0), time.Unix(200, 0)
	n := &fakeNode{refusals: []router.Refusal{{First: first, Last: last, Count: 7, Remote: "1.2.3.4:5", Endpoint: "127.0.0.1:46357",
		Reason: router.ReasonTLSReset, Text: "gone"}, {Remote: "5.6.7.8:9", Endpoint: "[::1]:1"}}}
	x := serve(t, n, nil).look(t.Context(), ":46357", 10).Services[0].Refusals
	want := Refusal{First: first, Last: last, Count: 7, Remote: "1.2.3.4:5", Endpoint: "127.0.0.1:46357", Reason: "tls_reset", Text: "gone"}
	if len(x) != 1 || x[0] != want {
		t.Errorf("%+v, want %+v", x, want)
	}
}

// The page loads nothing from elsewhere, and takes no text for markup.
func TestPageIsItsOwn(t *testing.T) {
	s := serve(t, &fakeNode{}, nil)
	for path := range pageFiles {
		code, body, h := get(t, s, path, "")
		if code != 200 || h.Get("Content-Security-Policy") != pagePolicy || h.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: %d %v", path, code, h)
		}
		for _, bad := range []string{"http:", "https:", "//cdn", "innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "style=", "onclick="} {
			if strings.Contains(body, bad) {
				t.Errorf("%s has %q", path, bad)
			}
		}
	}
}
