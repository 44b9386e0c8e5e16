package admin

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/seed31b3bfd0/slimgo/router"
	"github.com/seed31b3bfd0/slimgo/router/table"
)

// Status is what /status.json tells. Every text in it is printable and short, whoever has written it.
type Status struct {
	Time     time.Time       `json:"time"`
	Started  time.Time       `json:"started"`
	Build    Build           `json:"build"`
	NotReady string          `json:"not_ready,omitempty"` // "": ready
	Config   *Config         `json:"config,omitempty"`
	Query    string          `json:"query,omitempty"`
	Services []ServiceStatus `json:"services"`

	Certificates []Certificate  `json:"certificates"` // in use
	Auth         []AuthMaterial `json:"auth"`         // in use
	Answers      []string       `json:"answers"`      // what is wrong with the process as a whole, in words
}

// ServiceStatus is one service. Lists hold what Query asks for; what has trouble comes first.
type ServiceStatus struct {
	ID         string   `json:"id"`
	NodeID     string   `json:"node_id"` // as its peers see it
	Deployment string   `json:"deployment,omitempty"`
	Listeners  []string `json:"listeners"` // as clients dial them

	Error   string            `json:"error,omitempty"` // why connections are not told of
	Gauges  map[string]int64  `json:"gauges"`          // of this moment
	Totals  map[string]uint64 `json:"totals"`          // since the start
	Dropped map[string]uint64 `json:"dropped"`         // messages, by reason
	Refused map[string]uint64 `json:"refused"`         // requests and peers, by reason

	Answers     []string     `json:"answers"` // what stands out, in words
	Connections []Connection `json:"connections"`
	Matching    int          `json:"connections_matching"` // of which Connections are the first
	Names       []Name       `json:"names"`
	AllNames    bool         `json:"names_complete"` // Names are all that match
	Links       []Link       `json:"links"`          // that the node opens
	Peers       []Peer       `json:"peers"`          // peer links that are up
	Control     *Control     `json:"control,omitempty"`
	Refusals    []Refusal    `json:"refusals"` // the latest first
	Deaths      []Death      `json:"deaths"`   // the latest first
}

// Connection is a router.Connection.
type Connection struct {
	ID        uint64  `json:"id"`
	Kind      string  `json:"kind"`
	Dials     bool    `json:"dials,omitempty"` // the node has opened it
	State     string  `json:"state"`
	Transport string  `json:"transport"`
	Remote    string  `json:"remote"`
	Agent     string  `json:"agent,omitempty"`
	Node      string  `json:"node,omitempty"`
	LinkID    string  `json:"link_id,omitempty"`
	Version   string  `json:"version,omitempty"`
	Auth      string  `json:"auth,omitempty"`     // how it has proven who it is
	Identity  string  `json:"identity,omitempty"` // who that is
	Issuer    string  `json:"identity_issuer,omitempty"`
	Age       float64 `json:"age_seconds"`

	Received       uint64 `json:"received"`
	ReceivedBytes  uint64 `json:"received_bytes"`
	Delivered      uint64 `json:"delivered"`
	DeliveredBytes uint64 `json:"delivered_bytes"`

	Queued      int     `json:"queued"`
	QueuedBytes int     `json:"queued_bytes"`
	Held        int     `json:"held_bytes"`
	Stalled     float64 `json:"stalled_seconds"` // 0: it is not
	Missed      uint64  `json:"missed"`          // messages for it that died at its queue
	Dropped     uint64  `json:"dropped"`         // messages of it that died
	Unmatched   uint64  `json:"unmatched"`       // of these, those that nobody has subscribed to
	LastDrop    string  `json:"last_drop,omitempty"`

	Names int      `json:"names"`
	Some  []string `json:"some_names,omitempty"`
}

// Link is a router.LinkStatus.
type Link struct {
	Endpoint string    `json:"endpoint"`
	ID       string    `json:"link_id,omitempty"`
	Kind     string    `json:"kind"`
	State    string    `json:"state"`
	Since    time.Time `json:"since,omitzero"` // in that state; waiting and opening count as one
	Attempts uint64    `json:"attempts"`
	Losses   uint64    `json:"losses"`
	Failure  string    `json:"failure,omitempty"` // why it did not open, or was lost, the last time
	Failed   time.Time `json:"failed,omitzero"`   // when
}

func newLink(d *router.LinkStatus) Link {
	return Link{Endpoint: clean(d.Endpoint), ID: clean(d.ID), Kind: d.Kind.String(), State: d.State.String(), Since: d.Since,
		Attempts: d.Attempts, Losses: d.Losses, Failure: clean(d.Failure), Failed: d.Failed}
}

// Peer is a router.Peer.
type Peer struct {
	Node    string  `json:"node,omitempty"` // as it says
	Conn    uint64  `json:"connection"`
	Dials   bool    `json:"dials,omitempty"` // the node has opened the link
	State   string  `json:"state"`           // synced; behind: it is yet to be told names; standby; probing: as in slim_peers
	Age     float64 `json:"age_seconds"`
	Learned int     `json:"learned"`                // names that it tells
	Told    int     `json:"told"`                   // names that it was told
	Synced  float64 `json:"sync_seconds,omitempty"` // how long it took to tell it all, when the link was new
	Through string  `json:"loop_through,omitempty"` // where standby: the node through which the loop goes on that it would close
}

// Name is a name with those who hold it.
type Name struct {
	Name    string         `json:"name"`
	Holders map[string]int `json:"holders"` // by kind
	Some    []uint64       `json:"some_connections"`
}

// Refusal is a router.Refusal.
type Refusal struct {
	First    time.Time `json:"first"`
	Last     time.Time `json:"last"`
	Count    uint64    `json:"count"`
	Conn     uint64    `json:"connection,omitempty"`
	Remote   string    `json:"remote"`
	Agent    string    `json:"agent,omitempty"`
	Endpoint string    `json:"endpoint,omitempty"` // by which it came; "": the node had dialled it
	Reason   string    `json:"reason"`
	Text     string    `json:"text,omitempty"`
}

func newRefusal(r *router.Refusal) Refusal {
	return Refusal{First: r.First, Last: r.Last, Count: r.Count, Conn: r.Conn, Remote: clean(r.Remote), Agent: clean(r.Agent),
		Endpoint: clean(r.Endpoint), Reason: r.Reason.String(), Text: clean(r.Text)}
}

// Death is a router.Death.
type Death struct {
	First  time.Time `json:"first"`
	Last   time.Time `json:"last"`
	Conn   uint64    `json:"connection"`
	Remote string    `json:"remote"`
	Reason string    `json:"reason"`
	Name   string    `json:"name"`
	Source string    `json:"source"`
	Count  uint64    `json:"count"`
}

// Bounds of a look.
const (
	mostRows    = 1000 // of each list
	defaultRows = 200
	namesOfOne  = 3       // of a connection
	namedKeys   = 20      // of a configuration
	holdersOf   = 5       // of a name
	nameSteps   = 1 << 18 // names visited
	textLen     = 160     // characters
	queryLen    = 200     // bytes
	searchLen   = 512     // bytes of a text that are searched
	freshFor    = 500 * time.Millisecond
)

// looks make the answers to questions about connections shared by those who ask at the same time: there is one at
// work, and it serves for a moment.
type looks struct {
	mu  sync.Mutex // held while a node is asked
	all map[string]*look
}

// look is what a node has said.
type look struct {
	at       time.Time
	err      error // it has said nothing
	conns    []router.Connection
	refusals []router.Refusal
	deaths   []router.Death
}

// at asks the node of a service, unless it was asked a moment ago. The look is not to be changed.
func (k *looks) at(ctx context.Context, x Service) (*look, error) {
	if l := k.all[x.ID]; l != nil && time.Since(l.at) < freshFor {
		return l, l.err
	}
	l := new(look)
	if l.conns, l.err = x.Node.Connections(ctx, namesOfOne); l.err == nil {
		l.refusals, l.deaths, l.err = x.Node.Trouble(ctx)
	}
	if k.all == nil {
		k.all = map[string]*look{}
	}
	if l.at = time.Now(); !errors.Is(l.err, context.Canceled) { // that says nothing to others who have waited for it
		k.all[x.ID] = l
	}
	return l, l.err
}

// lookTimeout is how long loops that do not run are waited for.
const lookTimeout = 3 * time.Second

func (s *Server) status(w http.ResponseWriter, r *http.Request) {
	rows := defaultRows
	if v := r.FormValue("limit"); v != "" {
		n, err := strconv.Atoi(v)
		if err != nil || n < 1 || n > mostRows {
			http.Error(w, "limit: want 1 to "+strconv.Itoa(mostRows), http.StatusBadRequest)
			return
		}
		rows = n
	}
	q := r.FormValue("q")
	if len(q) > queryLen {
		http.Error(w, "q: want "+strconv.Itoa(queryLen)+" bytes at most", http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(s.look(r.Context(), strings.TrimSpace(q), rows))
}

// look tells of all that q asks for, up to so many rows of each kind.
func (s *Server) look(ctx context.Context, q string, rows int) *Status {
	s.looks.mu.Lock()
	defer s.looks.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	st := &Status{Time: time.Now(), Started: s.started, Build: s.o.Build, Query: clean(q), Services: []ServiceStatus{},
		Certificates: []Certificate{}, Auth: []AuthMaterial{}}
	if err := s.ready(); err != nil {
		st.NotReady = clean(err.Error())
	}
	if s.o.Config != nil {
		c := s.o.Config()
		c.File, c.Faults, c.NeedRestart = clean(c.File), cleaned(c.Faults), cleaned(c.NeedRestart)
		st.Config = &c
	}
	if s.o.Certificates != nil {
		all := s.o.Certificates()
		for i := range all[:min(len(all), mostRows)] {
			st.Certificates = append(st.Certificates, newCertificate(&all[i]))
		}
	}
	if s.o.Auth != nil {
		all := s.o.Auth()
		for i := range all[:min(len(all), mostRows)] {
			st.Auth = append(st.Auth, newAuthMaterial(&all[i]))
		}
	}
	st.Answers = append([]string{}, st.explain()...)
	for _, x := range s.o.Services() {
		st.Services = append(st.Services, s.lookAt(ctx, x, q, rows))
	}
	return st
}

func (s *Server) lookAt(ctx context.Context, x Service, q string, rows int) ServiceStatus {
	stats, about := x.Node.Stats(), x.Node.About()
	st := ServiceStatus{ID: clean(x.ID), NodeID: clean(about.NodeID), Deployment: clean(about.Deployment), Listeners: []string{}, Gauges: map[string]int64{}, Totals: map[string]uint64{"received": stats.Received,
		"received_bytes": stats.BytesIn, "delivered": stats.Delivered, "delivered_bytes": stats.Bytes, "queued": stats.Queued,
		"negotiated": stats.Negotiated, "panics": stats.Panics}, Dropped: byReason(stats.Dropped),
		Refused: byReason(stats.Refused),
		Answers: []string{}, Connections: []Connection{}, Names: []Name{}, Links: []Link{}, Peers: []Peer{}, Refusals: []Refusal{},
		Deaths: []Death{}}
	for _, l := range about.Listeners[:min(len(about.Listeners), mostRows)] {
		st.Listeners = append(st.Listeners, clean(l))
	}
	links := x.Node.Links()
	for i := range links[:min(len(links), mostRows)] {
		st.Links = append(st.Links, newLink(&links[i]))
	}
	for _, p := range x.Node.Peers() {
		st.Peers = append(st.Peers, Peer{Node: clean(p.Node), Conn: p.Conn, Dials: p.Dials, State: peerState(&p), Age: p.Age.Seconds(),
			Learned: p.Learned, Told: p.Told, Synced: p.Synced.Seconds(), Through: clean(p.Through)})
	}
	for name, v := range stats.Gauges() {
		st.Gauges[name] = v
	}
	if x.Control != nil {
		c := x.Control()
		st.Control = c.cleaned()
	}
	l, err := s.looks.at(ctx, x)
	if err == nil {
		var names []router.HeldName
		match := matcher(q)
		names, st.AllNames, err = x.Node.Names(ctx, func(name string, _ []uint64) bool { return match(name) }, rows,
			holdersOf, nameSteps)
		st.show(l, names, match, rows)
	}
	if err != nil {
		st.Error = "event loops do not answer: " + clean(err.Error())
	}
	st.Answers = append(st.Answers, st.explain(&stats, q)...)
	return st
}

// show fills the lists with what matches.
func (st *ServiceStatus) show(l *look, names []router.HeldName, match func(...string) bool, rows int) {
	holds := map[uint64]bool{} // a name that matches
	for _, n := range names {
		x := Name{Name: clean(n.Name), Holders: map[string]int{}, Some: n.Some}
		for k, count := range n.Holders {
			if count > 0 {
				x.Holders[table.Kind(k).String()] = count
			}
		}
		for _, id := range n.Some {
			holds[id] = true
		}
		st.Names = append(st.Names, x)
	}
	slices.SortFunc(st.Names, func(a, b Name) int { return cmp.Compare(a.Name, b.Name) })
	var conns []router.Connection
	for i := range l.conns {
		c := &l.conns[i]
		if holds[c.ID] || match(c.Remote, c.Agent, c.LinkID, c.Node, c.Kind.String(), c.State, c.Transport, c.Identity) {
			conns = append(conns, *c)
		}
	}
	st.Matching = len(conns)
	slices.SortFunc(conns, byTrouble)
	for i := range conns[:min(rows, len(conns))] {
		st.Connections = append(st.Connections, newConnection(&conns[i]))
	}
	for i := range l.refusals {
		r := &l.refusals[i]
		if len(st.Refusals) < rows && match(r.Remote, r.Agent, r.Endpoint, r.Reason.String(), r.Text) {
			st.Refusals = append(st.Refusals, newRefusal(r))
		}
	}
	for _, d := range l.deaths {
		if len(st.Deaths) < rows && match(d.Name, d.Source, d.Remote, d.Reason.String()) {
			st.Deaths = append(st.Deaths, Death{d.First, d.Last, d.Conn, clean(d.Remote), d.Reason.String(), clean(d.Name),
				clean(d.Source), d.Count})
		}
	}
}

// byTrouble puts first who is stalled, then who has most waiting, then who loses messages, then who does most.
func byTrouble(a, b router.Connection) int {
	return cmp.Or(cmp.Compare(b.Stalled, a.Stalled), cmp.Compare(b.QueuedBytes+b.Held, a.QueuedBytes+a.Held),
		cmp.Compare(b.Missed+b.Dropped, a.Missed+a.Dropped), cmp.Compare(b.Received+b.Delivered, a.Received+a.Delivered),
		cmp.Compare(a.ID, b.ID))
}

func newConnection(c *router.Connection) Connection {
	x := Connection{ID: c.ID, Dials: c.Dials, Kind: c.Kind.String(), State: c.State, Transport: c.Transport, Remote: clean(c.Remote),
		Agent: clean(c.Agent), Node: clean(c.Node),
		LinkID: clean(c.LinkID), Version: clean(c.Version), Auth: c.Auth, Identity: clean(c.Identity), Issuer: clean(c.Issuer), Age: c.Age.Seconds(), Received: c.Received,
		ReceivedBytes: c.ReceivedBytes,
		Delivered:     c.Delivered, DeliveredBytes: c.DeliveredBytes, Queued: c.Queued, QueuedBytes: c.QueuedBytes, Held: c.Held,
		Stalled: c.Stalled.Seconds(), Missed: c.Missed, Dropped: c.Dropped, Unmatched: c.Unmatched, Names: c.Names}
	if c.State == "negotiating" {
		x.Kind = "unknown"
	}
	if c.Dropped > 0 {
		x.LastDrop = c.LastDrop.String()
	}
	for _, n := range c.Some {
		x.Some = append(x.Some, clean(n))
	}
	return x
}

func byReason(counts map[router.Reason]uint64) map[string]uint64 {
	m := make(map[string]uint64, len(counts))
	for r, n := range counts {
		m[r.String()] = n
	}
	return m
}

// matcher returns whether any of some texts contains q, in letters of any case.
func matcher(q string) func(...string) bool {
	q = strings.ToLower(q)
	return func(texts ...string) bool {
		return q == "" || slices.ContainsFunc(texts, func(t string) bool {
			return strings.Contains(strings.ToLower(t[:min(len(t), searchLen)]), q)
		})
	}
}

// clean makes a text of unknown origin harmless: textLen printable characters at most. What could change how a
// terminal or a page shows the rest becomes a replacement character.
func clean(s string) string {
	if plain(s) {
		return s
	}
	var b strings.Builder
	n := 0
	for _, r := range s {
		if n++; n > textLen {
			b.WriteString("…")
			break
		}
		if !unicode.IsPrint(r) {
			r = unicode.ReplacementChar
		}
		b.WriteRune(r)
	}
	return b.String()
}

// cleaned is clean for the first of some texts.
func cleaned(texts []string) (out []string) {
	for _, s := range texts[:min(len(texts), namedKeys)] {
		out = append(out, clean(s))
	}
	return out
}

// plain reports whether s is short and of printable ASCII.
func plain(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return len(s) <= textLen
}
