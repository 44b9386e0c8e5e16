package router

import (
	"context"
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

// settle is forwardAll, for one at a time: there is one mark in each stage.
func (n *Node) settle(ctx context.Context) error {
	n.settling.Lock()
	defer n.settling.Unlock()
	return n.forwardAll(ctx)
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
