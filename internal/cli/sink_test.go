package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// gatedWriter takes what is written to it only while it is open. Safe for all goroutines.
type gatedWriter struct {
	mu     sync.Mutex
	opened *sync.Cond
	open   bool
	got    bytes.Buffer
	reply  func(p []byte) (int, error) // nil: take all
}

func newGatedWriter(open bool) *gatedWriter {
	w := &gatedWriter{open: open}
	w.opened = sync.NewCond(&w.mu)
	return w
}

func (w *gatedWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for !w.open {
		w.opened.Wait()
	}
	n, err := len(p), error(nil)
	if w.reply != nil {
		n, err = w.reply(p)
	}
	w.got.Write(p[:n])
	return n, err
}

func (w *gatedWriter) set(open bool, reply func([]byte) (int, error)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.open, w.reply = open, reply
	w.opened.Broadcast()
}

func (w *gatedWriter) text() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.got.String()
}

// onSink runs f with a sink in front of w and closes it.
func onSink(t *testing.T, w *gatedWriter, o SinkOptions, f func(*testing.T, *Sink)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := NewSink(w, o)
		s.onLoss(func(lost uint64) []byte { return fmt.Appendf(nil, "lost %d\n", lost) })
		f(t, s)
		w.set(true, nil)
		s.Close(t.Context())
	})
}

func TestSinkPassesRecordsOnInOrder(t *testing.T) {
	w := newGatedWriter(true)
	onSink(t, w, SinkOptions{}, func(t *testing.T, s *Sink) {
		var want strings.Builder
		for i := range 2000 {
			fmt.Fprintf(s, "record %d\n", i)
			fmt.Fprintf(&want, "record %d\n", i)
		}
		if err := s.Flush(t.Context()); err != nil || w.text() != want.String() {
			t.Errorf("%v; %d bytes, want %d", err, len(w.text()), want.Len())
		}
	})
}

// A writer that stands still costs those who log nothing: what has no room is dropped, and its number stands where it was.
func TestSinkDropsWhenTheWriterStandsStill(t *testing.T) {
	for _, c := range []struct {
		name string
		opt  SinkOptions
	}{
		{"by records", SinkOptions{Records: 4}},
		{"by bytes", SinkOptions{Bytes: 11}}, // of records of two bytes, and one of three
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newGatedWriter(false)
			onSink(t, w, c.opt, func(t *testing.T, s *Sink) {
				io.WriteString(s, "0\n")
				synctest.Wait() // the writer has it and stands still
				for i := range 9 {
					fmt.Fprintf(s, "%d\n", i+1)
				}
				if n := s.records; n > 5 {
					t.Errorf("%d records are held", n)
				}
				w.set(true, nil)
				synctest.Wait()
				fmt.Fprint(s, "10\n")
				if err := s.Flush(t.Context()); err != nil {
					t.Error(err)
				}
			})
			want := "0\n1\n2\n3\nlost 6\n10\n"
			if c.opt.Bytes > 0 {
				want = "0\n1\n2\n3\n4\nlost 5\n10\n"
			}
			if w.text() != want {
				t.Errorf("got %q, want %q", w.text(), want)
			}
		})
	}
}

func TestSinkTellsOfLossesBetweenRecords(t *testing.T) {
	w := newGatedWriter(false)
	onSink(t, w, SinkOptions{Bytes: sinkChunk + 10}, func(t *testing.T, s *Sink) {
		big := strings.Repeat("x", sinkChunk-1) + "\n"
		io.WriteString(s, big)
		synctest.Wait()
		io.WriteString(s, "aaaaaaaa\n")
		io.WriteString(s, "too much\n")
		s.mu.Lock()
		s.full.Store(false) // as if there had been room for a moment
		s.mu.Unlock()
		io.WriteString(s, "\n")
		w.set(true, nil)
		if err := s.Flush(t.Context()); err != nil || w.text() != big+"aaaaaaaa\nlost 1\n\n" {
			t.Errorf("%v: %q", err, strings.TrimPrefix(w.text(), big))
		}
	})
}

// A record that is longer than the queue is lost, and no other with it.
func TestSinkDropsARecordThatCannotFit(t *testing.T) {
	w := newGatedWriter(true)
	onSink(t, w, SinkOptions{Bytes: 10}, func(t *testing.T, s *Sink) {
		io.WriteString(s, "far too long\n")
		io.WriteString(s, "fits\n")
		if err := s.Flush(t.Context()); err != nil || w.text() != "lost 1\nfits\n" {
			t.Errorf("%v: %q", err, w.text())
		}
	})
}

func TestSinkFlushIsBounded(t *testing.T) {
	w := newGatedWriter(false)
	onSink(t, w, SinkOptions{}, func(t *testing.T, s *Sink) {
		io.WriteString(s, "a\n")
		began := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := s.Flush(ctx); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != time.Second {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		go func() {
			time.Sleep(time.Minute)
			w.set(true, nil)
		}()
		if err := s.Flush(t.Context()); err != nil || w.text() != "a\n" {
			t.Errorf("%v: %q", err, w.text())
		}
	})
}

// A reader that is gone, or a full disk, ends nothing: what could not be written is counted, and said if it can be later.
func TestSinkOutlivesFailingWrites(t *testing.T) {
	w := newGatedWriter(true)
	var told []error
	onSink(t, w, SinkOptions{Trouble: func(err error) { told = append(told, err) }}, func(t *testing.T, s *Sink) {
		w.set(true, func([]byte) (int, error) { return 0, syscall.EPIPE })
		for range 3 {
			io.WriteString(s, "gone\n")
			s.Flush(t.Context())
		}
		w.set(true, nil)
		io.WriteString(s, "back\n")
		s.Flush(t.Context())
		w.set(true, func([]byte) (int, error) { return 0, syscall.ENOSPC })
		io.WriteString(s, "gone\n")
		s.Flush(t.Context())
		if n := s.Dropped(); n != 4 {
			t.Errorf("%d are counted, want 4", n)
		}
	})
	if w.text() != "lost 3\nback\n" {
		t.Errorf("got %q", w.text())
	}
	if len(told) != 2 || told[0] != syscall.EPIPE || told[1] != syscall.ENOSPC {
		t.Errorf("told of %v, want EPIPE once, then ENOSPC", told)
	}
}

// A record of which only a part was written is lost, and the next one does not stand on its line.
func TestSinkEndsTornLines(t *testing.T) {
	w := newGatedWriter(false)
	onSink(t, w, SinkOptions{}, func(t *testing.T, s *Sink) {
		io.WriteString(s, "0\n")
		synctest.Wait()
		for _, text := range []string{"one\n", "two\n", "three\n"} {
			io.WriteString(s, text)
		}
		calls := 0
		w.set(true, func(p []byte) (int, error) {
			if calls++; calls == 2 {
				return len("one\ntw"), syscall.ENOSPC
			}
			return len(p), nil
		})
		s.Flush(t.Context())
		io.WriteString(s, "four\n")
		s.Flush(t.Context())
	})
	if want := "0\none\ntw\nlost 2\nfour\n"; w.text() != want {
		t.Errorf("got %q, want %q", w.text(), want)
	}
}

func TestSinkWaitsWhereTheWriterIsBusy(t *testing.T) {
	w := newGatedWriter(true)
	onSink(t, w, SinkOptions{}, func(t *testing.T, s *Sink) {
		began, calls := time.Now(), 0
		w.set(true, func(p []byte) (int, error) {
			if calls++; calls <= 3 {
				return 1, syscall.EAGAIN
			}
			return len(p), nil
		})
		io.WriteString(s, "whole\n")
		if err := s.Flush(t.Context()); err != nil || w.text() != "whole\n" || time.Since(began) != 3*sinkRetry {
			t.Errorf("%v: %q after %v", err, w.text(), time.Since(began))
		}
	})
}

// Whoever writes when, each record arrives once, whole, or is counted.
func TestSinkCountsEveryRecord(t *testing.T) {
	const writers, each = 8, 500
	var got bytes.Buffer
	s := NewSink(&got, SinkOptions{Records: 16})
	var all sync.WaitGroup
	for i := range writers {
		all.Go(func() {
			for j := range each {
				fmt.Fprintf(s, "record %d %d\n", i, j)
			}
		})
	}
	all.Wait()
	if err := s.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	whole, lost := 0, 0
	for line := range strings.Lines(got.String()) {
		var i, j, n int
		if _, err := fmt.Sscanf(line, "record %d %d\n", &i, &j); err == nil {
			whole++
		} else if _, err := fmt.Sscanf(line, "%d lines dropped", &n); err == nil {
			lost += n
		} else {
			t.Fatalf("line %q", line)
		}
	}
	if whole+lost != writers*each {
		t.Errorf("%d records arrived, %d are counted as lost, of %d", whole, lost, writers*each)
	}
}

// The record of losses has the form of the log, and nothing is formatted for a full sink.
func TestLossIsToldInTheFormOfTheLog(t *testing.T) {
	for name, c := range map[string]struct {
		json bool
		want string
	}{
		"text": {false, "2026-11-22T16:04:17.837014Z  WARN slim::log: 0: log records dropped: they could not be written in time dropped=2\n"},
		"json": {true, `{"time":"2026-11-22T16:04:17.837014Z","level":"WARN","msg":"log records dropped: they could not be written in time","target":"slim::log","thread":"main","dropped":2}` + "\n"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newGatedWriter(false)
			synctest.Test(t, func(t *testing.T) {
				s := NewSink(w, SinkOptions{Records: 1})
				l := NewLogger(s, LogOptions{JSON: c.json, Now: fixedNow, Filter: NewFilter(Selection{Level: "error"})})
				l.Error("stands still")
				synctest.Wait()
				l.Error("has no room")
				formatted := false
				l.Error("is not even formatted", "key", stringer(func() string { formatted = true; return "" }))
				if formatted {
					t.Error("a record was formatted that had no room")
				}
				w.set(true, nil)
				s.Close(t.Context())
			})
			got := sourceLine.ReplaceAllString(w.text(), "${1}0: ")
			if _, last, _ := strings.Cut(got, "\n"); last != c.want {
				t.Errorf("got  %swant %s", last, c.want)
			}
		})
	}
}

type stringer func() string

func (s stringer) String() string { return s() }

// A record that takes long to format holds nobody else up.
func TestFormattingHoldsNoLock(t *testing.T) {
	for _, json := range []bool{false, true} {
		s := NewSink(io.Discard, SinkOptions{})
		l := NewLogger(s, LogOptions{JSON: json, Look: Look{ThreadNames: true, ThreadIDs: true}, Now: fixedNow})
		formatting, release, others := make(chan struct{}), make(chan struct{}), make(chan struct{})
		go l.Info("slow", "key", slowError{formatting, release})
		<-formatting
		go func() {
			l.With(KeyThread, "another").Info("other")
			close(others)
		}()
		select {
		case <-others:
		case <-time.After(2 * time.Minute):
			t.Errorf("json %t: nobody can log while one record is formatted", json)
		}
		close(release)
		s.Close(t.Context())
	}
}

type slowError struct{ formatting, release chan struct{} }

func (e slowError) Error() string {
	select {
	case <-e.release:
	default:
		close(e.formatting)
		<-e.release
	}
	return "slow"
}
