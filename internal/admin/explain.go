package admin

import (
	"fmt"
	"time"

	"github.com/seed31b3bfd0/slimgo/router"
	"github.com/seed31b3bfd0/slimgo/router/table"
)

// explain says in words what the lists show: what to look at first when an application gets nothing. Texts of peers
// are in it only as clean has left them.
func (st *ServiceStatus) explain(s *router.Stats, q string) (answers []string) {
	say := func(format string, args ...any) { answers = append(answers, fmt.Sprintf(format, args...)) }
	if s.Late > 0 {
		say("%d event loops have not run for %v: the machine is overloaded, or this is a fault.", s.Late,
			s.Behind.Round(time.Second))
	}
	if s.Panics > 0 {
		say("%d internal errors: please report the log records with \"stack\".", s.Panics)
	}
	stalled := 0
	for i := range st.Connections {
		if c := &st.Connections[i]; c.Stalled > 0 {
			if stalled++; stalled <= 3 {
				say("Connection %d from %s does not read what it is sent, for %s: %d messages for it have died.", c.ID, c.Remote,
					(time.Duration(c.Stalled) * time.Second).String(), c.Missed)
			}
		}
	}
	if stalled > 3 {
		say("%d more receivers are stalled.", stalled-3)
	}
	st.explainLinks(say)
	if st.Control != nil {
		st.Control.explain(say)
	}
	for i, d := range st.Deaths {
		if i == 3 {
			break
		}
		at := d.Last.UTC().Format(time.TimeOnly) // it may be long ago: the connection may have ended, and the name be held
		if d.Reason == router.ReasonNoMatch.String() {
			say("Connection %d sent to %s at %s, which nobody but perhaps itself had subscribed to.", d.Conn, d.Name, at)
			continue
		}
		say("A message of connection %d to %s died at %s: %s.", d.Conn, d.Name, at, d.Reason)
	}
	if q == "" || st.Error != "" {
		return answers
	}
	switch q := clean(q); {
	case len(st.Names) == 0 && st.AllNames:
		say("No connection holds a name with %q: the application has not subscribed here, or under another name, or it is connected to another node.", q)
	case len(st.Names) == 0:
		say("No name with %q was found among the first %d: ask for more of it.", q, nameSteps)
	default:
		st.explainHolders(say)
	}
	if len(st.Refusals) > 0 {
		r := &st.Refusals[0]
		times := ""
		if r.Count > 1 {
			times = fmt.Sprintf("%d times, the last ", r.Count)
		}
		say("%s was turned away %sat %s: %s %s", r.Remote, times, r.Last.UTC().Format(time.TimeOnly), r.Reason, r.Text)
	}
	return answers
}

// explainLinks tells of links that are not up: those that nobody will open again first.
func (st *ServiceStatus) explainLinks(say func(string, ...any)) {
	const few = 5
	told, left := 0, 0
	for _, over := range []bool{true, false} {
		for i := range st.Links {
			l := &st.Links[i]
			switch {
			case l.State == router.LinkUp.String() || over != (l.State == router.LinkOver.String()):
				continue
			case told == few:
				left++
				continue
			case over && l.Kind == table.Edge.String(): // peers that are discovered, and links that are ordered, are dialled anew
				say("The link to %s is over and not tried again, after %d attempts: what goes there reaches nobody.%s", l.Endpoint, l.Attempts, l.why())
			default:
				say("The link to %s is %s, after %d attempts: what goes there reaches nobody.%s", l.Endpoint, l.State, l.Attempts, l.why())
			}
			told++
		}
	}
	if left > 0 {
		say("%d more links are not up.", left)
	}
}

// why is why it is not up, for the end of a line.
func (l *Link) why() string {
	if l.Failure == "" {
		return ""
	}
	return " " + l.Failure
}

// explainHolders tells of those who hold the names that were asked for, if they are few.
func (st *ServiceStatus) explainHolders(say func(string, ...any)) {
	const few = 3
	byID := map[uint64]*Connection{}
	for i := range st.Connections {
		byID[st.Connections[i].ID] = &st.Connections[i]
	}
	for i, n := range st.Names {
		if i == few {
			say("%d more names match.", len(st.Names)-few)
			return
		}
		for _, id := range n.Some[:min(few, len(n.Some))] {
			switch c := byID[id]; {
			case c == nil:
				say("%s is held by connection %d.", n.Name, id)
			case c.Stalled > 0: // said before
			case c.Delivered == 0 && c.Queued == 0:
				say("%s is held by connection %d, to which nothing was sent yet: look at its senders.", n.Name, id)
			default:
				say("%s is held by connection %d, which was given %d messages; %d wait for it.", n.Name, id, c.Delivered, c.Queued)
			}
		}
	}
}
