package rpc

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/seed31b3bfd0/slimgo/session"
)

// Types of messages of which a session.Refused tells that may be frames.
const (
	typeData   = "msg"
	typeRepeat = "rtx_reply"
)

const (
	// probeTime is how long others have for an answer: as long as a member may be silent until it is offline. In that time messages are
	// repeated, and a session gets new keys if it needs them.
	probeTime = 30 * time.Second
	// probeEvery is how often a link asks at most: anybody can send what is refused.
	probeEvery = 10 * time.Second
)

// probe is a call of a method that no server has.
var probe = Method{Service: "slimgo.Probe", Name: "Probe"}

// doubt is called when replies may not come any more, and nobody knows: messages of a member were refused, which are repeated for a while,
// until their sender gives them up without a word. Then those who owe replies are asked something: as messages are in order, who
// answers has said, and this end has taken, all that came before, or knows now that it is lost. Who does not answer is not
// there for calls (P-rpc-8).
func (l *link) doubt() {
	select {
	case l.doubts <- struct{}{}:
	default:
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err == nil {
		l.probing.Do(func() { l.tasks.Go(l.probe) })
	}
}

// probe asks whenever there is doubt.
func (l *link) probe() {
	for {
		select {
		case <-l.doubts:
		case <-l.life.Done():
			return
		}
		l.ask()
		select {
		case <-time.After(probeEvery):
		case <-l.life.Done():
			return
		}
	}
}

// ask has all answer who owe a reply.
func (l *link) ask() {
	owing := l.owing()
	if len(owing) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(l.life, probeTime)
	defer cancel()
	var asked *members
	if l.group {
		asked = &members{names: owing, refusal: func(session.Name) error { return nil }}
	}
	o := callOptions{codec: Proto{}, message: session.MaxContent, buffer: DefaultBuffer}
	s, err := begin(ctx, &o, probe, func(context.Context) (*link, error) { return l, nil }, asked)
	if err != nil {
		return
	}
	defer s.Close()
	if ask(s, new(Raw)) != nil {
		return
	}
	for range owing { // each says that there is no such method
		var e *Error
		if err := s.Receive(new(Raw)); errors.As(err, &e) && e.Code == DeadlineExceeded && !e.Remote && l.life.Err() == nil {
			l.absent(e.From, "it does not answer any more, after messages of it were refused")
		}
	}
}

// owing returns the members of whom calls expect something; of a session of two one, if there is a call.
func (l *link) owing() (names []session.Name) {
	for _, c := range l.pending() {
		if c.members == nil {
			return []session.Name{l.s.Dest()}
		}
		names = append(names, c.members.undone()...)
	}
	slices.SortFunc(names, func(a, b session.Name) int { return strings.Compare(a.String(), b.String()) })
	return slices.Compact(names)
}
