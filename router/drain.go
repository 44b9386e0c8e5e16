package router

import (
	"context"
	"sync"
	"sync/atomic"
)

// drain announces the end to every socket of the loop; messages that are read from now on still go their way.
func (l *loop) drain() { l.group.Drain() }

// finishAll ends all connections after what is queued for them. What had come before drain is in these queues.
func (l *loop) finishAll() { l.group.Finish() }

// stage is a place in which messages wait on their way to the queues of their receivers. mark notes those that are
// there now; passed reports whether they are there no more. What comes after mark does not count: a sender that goes on
// sending does not hold the end up.
type stage struct {
	mark   func(*loop)
	passed func(*loop) bool
}

// stages are all these places, in the order of a message's way: who is marked in one has left all before it.
var stages = []stage{
	{(*loop).markInput, (*loop).inputRead},     // the kernel, and pipes of apps in the process
	{(*loop).markAsking, (*loop).askingPassed}, // negotiations
	{(*loop).markLines, (*loop).linesPassed},   // lines of the sender's loop
	{(*loop).markRings, (*loop).ringsPassed},   // rings
	{(*loop).markEvents, (*loop).eventsPassed}, // what was taken from them
	{(*loop).markLines, (*loop).linesPassed},   // lines of the receivers' loops
}

// settle is forwardAll, which many may wait for.
func (n *Node) settle(ctx context.Context) error { return n.settling.wait(ctx, n.forwardAll) }

// settling has one forwardAll run at a time, since there is one mark in each stage, and one for all who wait: it asks the kernel about
// every socket, and a thousand links may be closed at once. The zero value is ready. Safe for all.
type settling struct {
	mu            sync.Mutex
	current, next *settleRound // guarded by mu; who comes while one is current shares the next
}

// settleRound is one forwardAll.
type settleRound struct {
	done chan struct{} // closed when it is over
	err  error         // before that
}

// wait returns when a forward that began after the call is over, within ctx. The first who waits for a round runs it; where its time
// ends, another one does.
func (s *settling) wait(ctx context.Context, forward func(context.Context) error) error {
	for {
		r, before, leads := s.join()
		switch {
		case !leads:
			select {
			case <-r.done:
				if r.err == nil {
					return nil
				}
			case <-ctx.Done():
			}
		case before != nil:
			select {
			case <-before.done:
			case <-ctx.Done():
			}
			fallthrough
		default:
			return s.run(ctx, r, forward)
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
}

// join returns the round that the caller waits for, which it runs if leads, after before.
func (s *settling) join() (r, before *settleRound, leads bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.next != nil:
		return s.next, nil, false
	case s.current == nil:
		s.current = &settleRound{done: make(chan struct{})}
		return s.current, nil, true
	}
	s.next = &settleRound{done: make(chan struct{})}
	return s.next, s.current, true
}

func (s *settling) run(ctx context.Context, r *settleRound, forward func(context.Context) error) error {
	r.err = context.Canceled // unless forward returns
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.current == r { // else its time has ended before its turn
			s.current = s.next
		}
		s.next = nil
		close(r.done)
	}()
	if r.err = ctx.Err(); r.err == nil {
		r.err = forward(ctx)
	}
	return r.err
}

// forwardAll lets what has come until now reach the queues of its receivers: nothing that a peer has sent, and our
// kernel has acknowledged, is lost because the node stops (P-end-3).
func (n *Node) forwardAll(ctx context.Context) error {
	for _, s := range stages {
		if err := n.onLoops(ctx, s.mark); err != nil {
			return err
		}
		for waits := true; waits; { // a round takes a turn of every loop
			var left atomic.Bool
			err := n.onLoops(ctx, func(l *loop) {
				if !s.passed(l) {
					left.Store(true)
				}
			})
			if err != nil {
				return err
			}
			waits = left.Load()
		}
	}
	return nil
}

func (l *loop) markInput() { l.net.MarkInput() }

// inputRead includes apps in the process, of whom nothing comes any more when the node stops.
func (l *loop) inputRead() bool { return l.net.InputRead() && l.group.RingsRead() }

func (l *loop) markAsking() { l.asking.marked = l.asking.conns.len() }

func (l *loop) askingPassed() bool { return l.asking.marked == 0 }

func (l *loop) markRings() {
	l.shipAll()
	l.port.Mark()
}

func (l *loop) ringsPassed() bool { return l.port.Passed() }

func (l *loop) markLines() { l.fanouts.mark() }

func (l *loop) linesPassed() bool { return l.fanouts.passed() }

// markEvents notes what was taken from rings and is not served.
func (l *loop) markEvents() { l.markedBatch = l.batch }

func (l *loop) eventsPassed() bool { return l.at == l.end || l.batch != l.markedBatch }
