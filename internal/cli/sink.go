package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Bounds of a sink.
const (
	DefaultSinkBytes   = 1 << 20
	DefaultSinkRecords = 4096

	sinkChunk = 64 << 10               // bytes given to the writer at once; the capacity of a pipe
	sinkRetry = 100 * time.Millisecond // pause after a writer has said that it can take nothing now
)

// SinkOptions configure a Sink.
type SinkOptions struct {
	// Bytes and Records bound what may wait for the writer; 0: the defaults.
	Bytes, Records int
	// Trouble is told the error when a write fails after one that did not; nil: no one is. It must not block.
	Trouble func(error)
	// Notice makes the record that says how many were lost; nil: a line of text.
	Notice func(lost uint64) []byte
}

// Sink passes records on to a writer that may be slow, stand still or be gone, and never makes those who log wait for it: what
// the writer has not taken stands in a bounded queue, what has no room there is dropped, and one record says how many those
// were as soon as the writer takes records again. Every Write is one record. Safe for all goroutines.
type Sink struct {
	// Immutable after NewSink.
	w    io.Writer
	opt  SinkOptions
	wake chan struct{} // of capacity 1: run has something to do

	full atomic.Bool // a record has found no room, and none was made since

	mu      sync.Mutex // guards all below; held for a few instructions, never over formatting or writing
	notice  func(lost uint64) []byte
	queue   []queued
	bytes   int           // of records queued or being written; at most opt.Bytes
	records int           // likewise; at most opt.Records
	lost    uint64        // records dropped since the last one that was queued
	dropped uint64        // records that will never be written, since the start
	pushed  uint64        // records ever queued
	passed  uint64        // of these, records that are written or given up
	moved   chan struct{} // closed and made anew whenever passed grows
	closed  bool

	// Owned by run.
	failed uint64 // records that the writer refused, not yet told of
	ill    bool   // the last write failed
	torn   bool   // the last write ended within a record
	out    []byte
	parts  []part
}

// queued is one record that waits.
type queued struct {
	b    []byte
	lost uint64 // records that were dropped just before it
}

// part is a piece of what run writes: a record, or the notice of lost ones.
type part struct {
	end  int    // in Sink.out
	lost uint64 // what is lost, or remains untold, if it is not written
	news bool   // it is a record, not told of before
}

// NewSink starts a sink in front of w. Close ends it.
func NewSink(w io.Writer, o SinkOptions) *Sink {
	if o.Bytes == 0 {
		o.Bytes = DefaultSinkBytes
	}
	if o.Records == 0 {
		o.Records = DefaultSinkRecords
	}
	if o.Notice == nil {
		o.Notice = func(lost uint64) []byte {
			return fmt.Appendf(nil, "%d lines dropped: they could not be written in time\n", lost)
		}
	}
	s := &Sink{w: w, opt: o, wake: make(chan struct{}, 1), moved: make(chan struct{}), notice: o.Notice}
	go s.run()
	return s
}

// Write queues p, which is copied, as one record, or drops it. It never blocks and never fails.
func (s *Sink) Write(p []byte) (int, error) {
	if !s.full.Load() {
		s.push(bytes.Clone(p))
	} else {
		s.drop()
	}
	return len(p), nil
}

func (s *Sink) push(b []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.records == s.opt.Records || s.bytes+len(b) > s.opt.Bytes {
		s.lost++
		s.dropped++
		s.full.Store(s.records > 0) // release will be called
	} else {
		s.queue = append(s.queue, queued{b, s.lost})
		s.lost = 0
		s.pushed++
		s.records++
		s.bytes += len(b)
	}
	s.poke()
}

// drop counts a record that was not made because there is no room for it.
func (s *Sink) drop() {
	s.mu.Lock()
	s.lost++
	s.dropped++
	s.mu.Unlock()
	s.poke()
}

// Dropped returns how many records have found no room, or were refused by the writer, since the start.
func (s *Sink) Dropped() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.dropped
}

func (s *Sink) poke() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// onLoss sets what makes the record that says how many were lost.
func (s *Sink) onLoss(notice func(lost uint64) []byte) {
	s.mu.Lock()
	s.notice = notice
	s.mu.Unlock()
}

// Flush waits until everything written before is passed on or given up, or ctx ends; then it returns ctx's error.
func (s *Sink) Flush(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for want := s.pushed; s.passed < want || s.lost > 0 && !s.closed; {
		moved := s.moved
		s.mu.Unlock()
		var err error
		select {
		case <-moved:
		case <-ctx.Done():
			err = ctx.Err()
		}
		s.mu.Lock()
		if err != nil {
			return err
		}
	}
	return nil
}

// Close is Flush, and the end of the sink: what is written from now on is dropped, and a writer that stands still is left
// alone with what it was given.
func (s *Sink) Close(ctx context.Context) error {
	err := s.Flush(ctx)
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.poke()
	return err
}

// run passes records on until the sink is closed. It alone calls the writer.
func (s *Sink) run() {
	for range s.wake {
		for {
			batch, lost, closed := s.take()
			if len(batch) == 0 && lost == 0 {
				if closed {
					return
				}
				break
			}
			s.pass(batch, lost)
			s.release(batch, lost)
		}
	}
}

// take removes the next records from the queue. With the last of them come those that were dropped after it; they count as
// one record that is on its way, so that Flush waits for the notice.
func (s *Sink) take() (batch []queued, lost uint64, closed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, size := 0, 0
	for n < len(s.queue) && (n == 0 || size+len(s.queue[n].b) <= sinkChunk) {
		size += len(s.queue[n].b)
		n++
	}
	batch = slices.Clone(s.queue[:n])
	clear(s.queue[:n])
	if s.queue = s.queue[n:]; len(s.queue) == 0 {
		s.queue = nil
		if lost, s.lost = s.lost, 0; lost > 0 {
			s.pushed++
		}
	}
	return batch, lost, s.closed
}

// release makes room for as much as has been passed on.
func (s *Sink) release(batch []queued, lost uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, q := range batch {
		s.bytes -= len(q.b)
	}
	s.records -= len(batch)
	s.passed += uint64(len(batch))
	if lost > 0 {
		s.passed++
	}
	close(s.moved)
	s.moved = make(chan struct{})
	s.full.Store(false)
}

// pass writes records, with notices where some are missing, and remembers what the writer did not take.
func (s *Sink) pass(batch []queued, lost uint64) {
	s.mu.Lock()
	notice := s.notice
	s.mu.Unlock()
	s.out, s.parts = s.out[:0], s.parts[:0]
	if s.torn { // what came through of the record is a line of its own
		s.add([]byte{'\n'}, 0, false)
	}
	for _, q := range batch {
		if n := q.lost + s.failed; n > 0 {
			s.failed = 0
			s.add(notice(n), n, false)
		}
		s.add(q.b, 1, true)
	}
	if n := lost + s.failed; n > 0 && lost > 0 {
		s.failed = 0
		s.add(notice(n), n, false)
	}
	n, err := s.write()
	s.torn = s.torn && n == 0 || n > 0 && !slices.ContainsFunc(s.parts, func(p part) bool { return p.end == n })
	refused := uint64(0)
	for _, p := range s.parts {
		if p.end > n {
			s.failed += p.lost
			if p.news {
				refused++
			}
		}
	}
	if refused > 0 {
		s.mu.Lock()
		s.dropped += refused
		s.mu.Unlock()
	}
	if err != nil && !s.ill && s.opt.Trouble != nil {
		s.opt.Trouble(err)
	}
	s.ill = err != nil
	if cap(s.out) > 2*sinkChunk {
		s.out = nil
	}
}

func (s *Sink) add(b []byte, lost uint64, news bool) {
	s.out = append(s.out, b...)
	s.parts = append(s.parts, part{len(s.out), lost, news})
}

// write returns how much of s.out was written. A descriptor that someone else has made non-blocking says at times that it can
// take nothing; it will.
func (s *Sink) write() (n int, err error) {
	for {
		var m int
		m, err = s.w.Write(s.out[n:])
		if n += m; !errors.Is(err, syscall.EAGAIN) || n >= len(s.out) {
			return n, err
		}
		time.Sleep(sinkRetry)
	}
}

// SurviveClosedPipes makes a write to a standard stream whose reader is gone fail, where it would end the process by SIGPIPE.
func SurviveClosedPipes() { signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE) }
