package rpc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"

	"github.com/seed31b3bfd0/slimgo/session"
)

// Reply is what a member of a group has answered.
type Reply[Res any] struct {
	// From is the member; with an error that is of one, too.
	From Peer
	// Message is nil where there is an error.
	Message *Res
}

// Ask calls a method of all members with one request, and returns what they reply: one each, or, of a method that streams, any number. An
// error is that of one member, which says nothing more, and others may follow; one with a zero From is that of the call, and the
// last. A loop that is left gives the call up.
func Ask[Req, Res any](ctx context.Context, c Caller, m Method, req *Req) iter.Seq2[Reply[Res], error] {
	return func(yield func(Reply[Res], error) bool) {
		s, err := c.NewStream(ctx, m)
		if err != nil {
			yield(Reply[Res]{}, err)
			return
		}
		defer s.Close()
		if err := ask(s, req); err != nil {
			yield(Reply[Res]{}, err)
			return
		}
		replies(s, yield)
	}
}

// replies goes through what members say, until all have finished.
func replies[Res any](s ClientStream, yield func(Reply[Res], error) bool) {
	for last := error(nil); ; {
		res := new(Res)
		err := s.Receive(res)
		if err == io.EOF || err != nil && err == last { // of a Client the error stays
			return
		}
		last = err
		r := Reply[Res]{Message: res}
		var e *Error
		switch {
		case err == nil:
			r.From = s.Peer()
		case errors.As(err, &e):
			r = Reply[Res]{From: Peer{Name: e.From}}
		}
		if !yield(r, err) || err != nil && r.From.Name.IsZero() {
			return
		}
	}
}

// GroupCall is a call of all members with any number of requests. One goroutine may send while another one goes through the replies.
type GroupCall[Req, Res any] struct{ stream ClientStream }

// Converse begins a call of a method with any number of requests.
func Converse[Req, Res any](ctx context.Context, c Caller, m Method) (*GroupCall[Req, Res], error) {
	s, err := c.NewStream(ctx, m)
	if err != nil {
		return nil, err
	}
	return &GroupCall[Req, Res]{s}, nil
}

// Send sends a request to all members. io.EOF: all have finished.
func (c *GroupCall[Req, Res]) Send(req *Req) error { return c.stream.Send(req) }

// CloseSend says that there are no more requests.
func (c *GroupCall[Req, Res]) CloseSend() error { return c.stream.CloseSend() }

// Replies are what members say, as of Ask. A loop that is left can be gone on with by another one.
func (c *GroupCall[Req, Res]) Replies() iter.Seq2[Reply[Res], error] {
	return func(yield func(Reply[Res], error) bool) { replies(c.stream, yield) }
}

// Close gives the call up, if it is not over.
func (c *GroupCall[Req, Res]) Close() { c.stream.Close() }

// Failures are errors of members, for want of which there are too few replies.
type Failures struct {
	Wanted, Got int
	Errors      []error // of members; the last may be that of the call
}

// Error says how many have answered, and what the others have said.
func (f *Failures) Error() string {
	texts := make([]string, len(f.Errors))
	for i, err := range f.Errors {
		texts[i] = err.Error()
	}
	return fmt.Sprintf("%d of %d replies that were wanted: %s", f.Got, f.Wanted, strings.Join(texts, "; "))
}

// Unwrap returns the errors.
func (f *Failures) Unwrap() []error { return f.Errors }

// Quorum returns the first n members' replies, the first one of each, and gives the call up then. If there will not be so many it returns
// those that there are, and a *Failures.
func Quorum[Res any](replies iter.Seq2[Reply[Res], error], n int) ([]Reply[Res], error) {
	var got []Reply[Res]
	failed := &Failures{Wanted: n}
	heard := map[session.Name]bool{}
	for r, err := range replies {
		switch {
		case err != nil:
			failed.Errors = append(failed.Errors, err)
		case !heard[r.From.Name]:
			heard[r.From.Name] = true
			got = append(got, r)
		}
		if len(got) >= n {
			return got, nil
		}
	}
	failed.Got = len(got)
	return got, failed
}

// First returns the first reply of any member, and gives the call up then. If nobody replies that is a *Failures.
func First[Res any](replies iter.Seq2[Reply[Res], error]) (Reply[Res], error) {
	got, err := Quorum(replies, 1)
	if err != nil {
		return Reply[Res]{}, err
	}
	return got[0], nil
}
