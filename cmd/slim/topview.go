package main

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/seed31b3bfd0/slimgo/internal/admin"
	"github.com/seed31b3bfd0/slimgo/internal/cli"
)

// signals are those that end slim top.
type signals struct {
	c      chan os.Signal
	ignore func()
}

func newSignals(p *program) *signals {
	s := &signals{c: make(chan os.Signal, 1)}
	s.ignore = p.notify(s.c)
	return s
}

// wait returns true after d, false at once when a signal comes or ctx ends.
func (s *signals) wait(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-s.c:
	case <-ctx.Done():
	}
	return false
}

// view draws looks at a node as text. Its rates are those since the look before.
type view struct{ before *admin.Status }

// draw returns st in lines of so many columns, at most so many.
func (v *view) draw(st *admin.Status, columns, rows int) string {
	d := cli.Lines{Columns: columns}
	state := "ready"
	if st.NotReady != "" {
		state = "not ready: " + st.NotReady
	}
	d.Add("SLIM node %s  %s  up %s  %s", st.Build.Version, state, st.Time.Sub(st.Started).Round(time.Second),
		st.Time.Format(time.TimeOnly))
	for _, a := range st.Answers {
		addWrapped(&d, "! "+a)
	}
	for i := range st.Services {
		v.service(&d, &st.Services[i], st.Time)
	}
	if len(st.Certificates) > 0 {
		d.Add("")
		d.Add("CERTIFICATES  ends        loaded    of")
		for i := range st.Certificates {
			c := &st.Certificates[i]
			ends, subject := "-", ""
			if !c.NotAfter.IsZero() {
				ends, subject = c.NotAfter.UTC().Format(time.DateOnly), "  "+c.Subject
			}
			head := fmt.Sprintf("              %-10s  %-8s", ends, short(st.Time.Sub(c.Loaded).Seconds())+" ago")
			why := "" // what is wrong in full stands on top
			if c.Fault != "" {
				why = "NOT LOADED since " + c.Failed.Format(time.TimeOnly)
			}
			addPair(&d, head, c.Endpoint+subject, why)
		}
	}
	v.before = st
	return d.Text(rows, "… %d more lines: --find shows less, --once all")
}

func (v *view) service(d *cli.Lines, s *admin.ServiceStatus, now time.Time) {
	was, since := v.last(s.ID, now)
	d.Add("")
	d.Add("%s  %d connections, %d names, %d stalled, %d messages (%s) wait, %s held", s.ID, s.Gauges["connections"],
		s.Gauges["names"],
		s.Gauges["stalled"], s.Gauges["waiting"], size(s.Gauges["waiting_bytes"]), size(s.Gauges["held_bytes"]))
	listens := "nowhere"
	if len(s.Listeners) > 0 {
		listens = strings.Join(s.Listeners, ", ")
	}
	addWrapped(d, s.NodeID+" listens on "+listens)
	rate := func(key string) string {
		if was == nil {
			return "-"
		}
		return perSecond(s.Totals[key]-was.Totals[key], since)
	}
	addWrapped(d, fmt.Sprintf("in %s/s, out %s/s, waited %s/s  dropped: %s  refused: %s",
		rate("received"), rate("delivered"), rate("queued"), reasons(s.Dropped), reasons(s.Refused)))
	if s.Error != "" {
		d.Add("! %s", s.Error)
	}
	for _, a := range s.Answers {
		addWrapped(d, "> "+a)
	}
	v.connections(d, s, was, since)
	if len(s.Links) > 0 {
		d.Add("")
		d.Add("LINKS  state    since   attempts  losses  kind    to, last failure")
		for i := range s.Links {
			l := &s.Links[i]
			head := fmt.Sprintf("       %-8s %-7s %8d %7d  %-6s", l.State, short(now.Sub(l.Since).Seconds()), l.Attempts, l.Losses, l.Kind)
			why := ""
			if l.Failure != "" {
				why = l.Failed.Format(time.TimeOnly) + " " + l.Failure
			}
			addPair(d, head, l.Endpoint, why)
		}
	}
	d.Add("")
	more := ""
	if !s.AllNames {
		more = ", and more"
	}
	d.Add("NAMES  %d%s", len(s.Names), more)
	for _, n := range s.Names {
		var by []string
		for _, kind := range slices.Sorted(maps.Keys(n.Holders)) {
			by = append(by, fmt.Sprintf("%d %s", n.Holders[kind], kind))
		}
		d.Add("  %s  %s: connections %s", n.Name, strings.Join(by, ", "), ids(n.Some))
	}
	if len(s.Deaths) > 0 {
		d.Add("")
		d.Add("DIED   last      reason            noted  connection  to, from")
		for _, x := range s.Deaths {
			head := fmt.Sprintf("       %s  %-16s %6d %11d", x.Last.Format(time.TimeOnly), x.Reason, x.Count, x.Conn)
			addPair(d, head, x.Name, "from "+x.Source)
		}
	}
	if len(s.Refusals) > 0 {
		d.Add("")
		d.Add("REFUSED  last      times  reason                who, at, why")
		for i := range s.Refusals {
			x := &s.Refusals[i]
			head := fmt.Sprintf("         %s %6d  %-20s", x.Last.Format(time.TimeOnly), x.Count, x.Reason)
			who, why := refused(x)
			addPair(d, head, who, why)
		}
	}
}

func (v *view) connections(d *cli.Lines, s, was *admin.ServiceStatus, since time.Duration) {
	before := map[uint64]*admin.Connection{}
	if was != nil {
		for i := range was.Connections {
			before[was.Connections[i].ID] = &was.Connections[i]
		}
	}
	d.Add("")
	head := "    ID KIND       IN/S    OUT/S   WAIT    BYTES     HELD  NAMES  AGE"
	if d.Columns >= wide {
		head += "    WHO, TROUBLE"
	}
	d.Add("%s", head)
	for i := range s.Connections {
		c := &s.Connections[i]
		in, out := "-", "-"
		if b := before[c.ID]; b != nil {
			in, out = perSecond(c.Received-b.Received, since), perSecond(c.Delivered-b.Delivered, since)
		}
		kind := c.Kind
		if c.State != "active" {
			kind = c.State
		}
		row := fmt.Sprintf("%6d %-7.7s %8s %8s %6d %8s %8s %6d  %-6s", c.ID, kind, in, out, c.Queued, size(c.QueuedBytes),
			size(c.Held), c.Names, short(c.Age))
		if d.Columns >= wide {
			d.Add("%s %s", row, who(c))
			continue
		}
		d.Add("%s", row)
		d.Add("       %s", who(c))
	}
	if n := s.Matching - len(s.Connections); n > 0 {
		d.Add("       %d more, in less trouble", n)
	}
}

// last is the service in the look before, and how long ago that was; nil: there is none.
func (v *view) last(id string, now time.Time) (*admin.ServiceStatus, time.Duration) {
	if v.before == nil {
		return nil, 0
	}
	since := now.Sub(v.before.Time)
	i := slices.IndexFunc(v.before.Services, func(s admin.ServiceStatus) bool { return s.ID == id })
	if i < 0 || since <= 0 {
		return nil, 0
	}
	return &v.before.Services[i], since
}

// who is the other end of a connection, what is wrong with it, and what it says of itself.
func who(c *admin.Connection) string {
	words := []string{c.Remote}
	if c.Stalled > 0 {
		words = append(words, "STALLED for "+short(c.Stalled))
	}
	if c.Missed > 0 {
		words = append(words, fmt.Sprintf("%d for it died", c.Missed))
	}
	if c.Dropped > 0 {
		words = append(words, fmt.Sprintf("%d of it died: %s", c.Dropped, c.LastDrop))
	}
	if c.Auth != "" {
		words = append(words, c.Identity+" ("+c.Auth+")")
	}
	for _, w := range []string{c.Agent, c.Node} {
		if w != "" {
			words = append(words, w)
		}
	}
	return strings.Join(words, "  ")
}

// refused is who was turned away, and by which listener and why.
func refused(x *admin.Refusal) (who, why string) {
	who = x.Remote
	if x.Agent != "" {
		who += "  " + x.Agent
	}
	if x.Endpoint != "" {
		why = "at " + x.Endpoint + "  "
	}
	return who, strings.TrimSpace(why + x.Text)
}

// addWrapped adds a text that is not to be cut off, in two lines at most.
func addWrapped(d *cli.Lines, text string) {
	r := []rune(text)
	if len(r) <= d.Columns {
		d.Add("%s", text)
		return
	}
	at := d.Columns
	if i := strings.LastIndexByte(string(r[:at]), ' '); i > len(string(r[:at]))/2 {
		at = len([]rune(string(r[:at])[:i]))
	}
	d.Add("%s", string(r[:at]))
	d.Add("  %s", strings.TrimSpace(string(r[at:])))
}

// wide is how many columns a terminal has at least whose lines are not parted.
const wide = 120

// addPair adds a line that ends with who and why, or in a narrow terminal one for each, so that none is cut off.
func addPair(d *cli.Lines, head, who, why string) {
	switch {
	case why == "":
		d.Add("%s  %s", head, who)
	case d.Columns >= wide:
		d.Add("%s  %s  %s", head, who, why)
	default:
		d.Add("%s  %s", head, who)
		d.Add("         %s", why)
	}
}

func ids(some []uint64) string {
	var words []string
	for _, id := range some {
		words = append(words, fmt.Sprint(id))
	}
	return strings.Join(words, ", ")
}

// reasons are counts by reason, the largest first.
func reasons(counts map[string]uint64) string {
	keys := slices.SortedFunc(maps.Keys(counts), func(a, b string) int {
		return cmp.Or(cmp.Compare(counts[b], counts[a]), cmp.Compare(a, b))
	})
	if len(keys) == 0 {
		return "none"
	}
	var words []string
	for _, k := range keys {
		words = append(words, fmt.Sprintf("%s %d", k, counts[k]))
	}
	return strings.Join(words, ", ")
}

func perSecond(n uint64, d time.Duration) string { return fmt.Sprintf("%.0f", float64(n)/d.Seconds()) }

func size[N int | int64](n N) string { return cli.Format(float64(n), "B") }

// short is a time in one unit.
func short(seconds float64) string {
	switch d := time.Duration(seconds * float64(time.Second)); {
	case d < 2*time.Minute:
		return fmt.Sprintf("%.0fs", d.Seconds())
	case d < 2*time.Hour:
		return fmt.Sprintf("%.0fm", d.Minutes())
	case d < 48*time.Hour:
		return fmt.Sprintf("%.0fh", d.Hours())
	default:
		return fmt.Sprintf("%.0fd", d.Hours()/24)
	}
}
