package router

import (
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"
)

// logTopic is what a record about peers is about. Each topic has a share of the log of its own, so that many records of one kind
// do not crowd out the others. The first topics are the reasons of refusals and drops.
type logTopic uint8

const (
	topicOpened       = logTopic(numReasons) + iota // connections that were negotiated
	topicClosed                                     // and their ends
	topicLoop                                       // peer links that stand by, or do not any more
	topicPanic                                      // internal errors
	topicAdvice                                     // clients that leave, and could do otherwise
	topicProbe                                      // at debug: sockets that never became a connection
	topicSubscription                               // at debug: names that come and go
	topicMessage                                    // at debug: messages that died
	topicPeer                                       // at debug: what peers are told
	numTopics
)

var topicNames = [numTopics - logTopic(numReasons)]string{"connection_opened", "connection_closed", "peer_loop", "internal_error",
	"advice", "probe", "subscription", "message", "peer_told"}

// String returns the word used in logs.
func (t logTopic) String() string {
	switch {
	case t < logTopic(numReasons):
		return Reason(t).String()
	case t < numTopics:
		return topicNames[t-logTopic(numReasons)]
	}
	return fmt.Sprintf("topic(%d)", uint8(t))
}

// most is how many records of a topic are logged in a minute. A record of a text log has some 300 bytes.
func (t logTopic) most() uint64 {
	switch {
	case t == topicPanic:
		return 10
	case t == topicOpened || t == topicClosed:
		return 600
	case t == topicAdvice:
		return 20
	case t >= topicProbe:
		return 3000 // whoever debugs asked for it
	}
	return 60
}

// logLimit bounds what peers can make a node log: for each topic so many records a minute. What is left out is counted, and the
// next minute begins with the count. The zero value begins its first minute with the first turn. Safe for all, without locks,
// but for turn.
type logLimit struct {
	topics [numTopics]struct{ records, left atomic.Uint64 }
	next   time.Time // begin of the next minute; owned by whoever calls turn
}

// allows reports whether one more record of a topic may be logged in this minute.
func (l *logLimit) allows(t logTopic) bool {
	p := &l.topics[t]
	if p.records.Add(1) <= t.most() {
		return true
	}
	p.left.Add(1)
	return false
}

// turn begins a new minute when the last is over, and logs how many records were left out in it.
func (l *logLimit) turn(now time.Time, log *slog.Logger) {
	if now.Before(l.next) {
		return
	}
	l.next = now.Add(time.Minute)
	l.settle(log)
}

// settle logs how many records were left out since the minute began.
func (l *logLimit) settle(log *slog.Logger) {
	for t := range l.topics {
		p := &l.topics[t]
		p.records.Store(0)
		if n := p.left.Swap(0); n > 0 {
			log.Warn("similar log records were left out", "target", targetProcessing, "about", logTopic(t).String(), "count", n)
		}
	}
}
