package transport

import (
	"fmt"
	"testing"
	"time"
)

const (
	testRate    = 256 << 10        // of the floor, bytes a second
	above       = testRate * 6 / 5 // what a receiver reads that loses nothing
	testTimeout = 250 * time.Millisecond
	sendBuffer  = 4 << 20 // Linux's largest (tcp_wmem)
)

var testFloor = Floor{Rate: testRate, Timeout: testTimeout}

// reader is a peer on TCP in virtual time: its program reads chunk bytes at a time, rate a second; its kernel and its
// HTTP/2 engine keep windows closed as real ones do. There is always more for it.
type reader struct {
	rate, chunk int
	buffer      int // of its kernel, bytes
	update      int // bytes read at which its engine opens the window again

	socket socketUptake
	stream streamUptake
	watch  Watch

	allowed float64 // what the program may read now
	held    int     // in the kernel's buffer
	freed   int     // read from it, but kept by what it was merged with
	shut    bool    // the TCP window is zero
	step    int     // acknowledged since it opened
	largest int     // step
	unread  int     // read, and not returned to the HTTP/2 window
	window  int     // of HTTP/2
	pending int     // in the node's send buffer
	given   uint64
	reads   uint64 // of the node, in which windows were opened
	now     time.Duration
	taken   time.Duration // when something was acknowledged last
	since   time.Duration // since the last look
}

func newReader(rate, chunk, buffer, window, update int) *reader {
	r := &reader{rate: rate, chunk: chunk, buffer: buffer, update: update, window: window}
	r.returned()
	r.move()
	p := r.progress()
	r.watch.Start(&p)
	return r
}

func (r *reader) progress() Progress {
	r.socket.look(r.given, r.pending)
	w := r.buffer - r.held
	if r.shut {
		w = 0
	}
	r.socket.buffer.look(w, 0, int(r.socket.fresh), r.socket.unread(r.window))
	return r.stream.progress(&streamState{given: r.given, socket: r.given, window: r.window, connWindow: r.window,
		blocked: r.pending == sendBuffer}, &r.socket)
}

// move lets the kernels on both sides do what they can.
func (r *reader) move() {
	n := min(r.window, sendBuffer-r.pending)
	r.window -= n
	r.pending += n
	r.given += uint64(n)
	if r.shut && r.buffer-r.held >= r.buffer/16 {
		r.shut, r.step = false, 0
	}
	if r.shut {
		return
	}
	if n := min(r.pending, r.buffer-r.held); n > 0 {
		r.held += n
		r.pending -= n
		r.step += n
		r.taken = r.now
	}
	if r.shut = r.held == r.buffer; r.shut {
		r.largest = max(r.largest, r.step)
	}
}

// read lets the program read for dt. The kernel frees what it has merged as a whole.
func (r *reader) read(dt time.Duration) {
	r.allowed += float64(r.rate) * dt.Seconds()
	merged := min(320<<10, r.buffer) // as seen on loopback
	for {
		n := min(int(r.allowed)/r.chunk*r.chunk, r.held-r.freed)
		if n <= 0 {
			return
		}
		r.allowed -= float64(n)
		r.freed += n
		r.held -= r.freed / merged * merged
		if r.freed %= merged; r.held == r.freed {
			r.held, r.freed = 0, 0
		}
		if r.unread += n; r.unread >= r.update {
			r.window += r.unread
			r.unread = 0
			r.returned()
			r.move()
		}
	}
}

// returned shows the node the window, after a read of its own.
func (r *reader) returned() {
	r.reads++
	r.stream.updates.saw(r.window, r.given, r.reads)
	r.socket.updates.sawShared(r.window, r.given, r.reads)
}

// rest lets d go by while nobody looks.
func (r *reader) rest(d time.Duration) {
	const step = 5 * time.Millisecond
	for end := r.now + d; r.now < end; {
		r.now += step
		r.read(step)
		r.move()
	}
	p := r.progress()
	r.watch.Start(&p)
}

// pass lets d go by and reports whether the reader was called stalled on the way.
func (r *reader) pass(d time.Duration) bool {
	const step = 5 * time.Millisecond
	for end := r.now + d; r.now < end; {
		r.now += step
		r.read(step)
		r.move()
		if r.since += step; r.since < Look {
			continue
		}
		p := r.progress()
		_, stalled := r.watch.Look(r.since, &p, &testFloor)
		r.since = 0
		if stalled {
			return true
		}
	}
	return false
}

// readers calls f for readers of many kinds.
func readers(t *testing.T, rate int, f func(t *testing.T, r *reader)) {
	for _, chunk := range []int{1, 4 << 10, 64 << 10} {
		for _, buffer := range []int{96 << 10, 400 << 10, 6 << 20} {
			for _, window := range []int{65535, 2 << 20, 16 << 20} {
				for _, part := range []int{4, 2} {
					t.Run(fmt.Sprintf("chunk %d, buffer %d, window %d, update of 1/%d", chunk, buffer, window, part),
						func(t *testing.T) { f(t, newReader(rate, chunk, buffer, window, window/part)) })
				}
			}
		}
	}
}

func TestPeersThatReadSteadilyAboveTheFloorAreNeverStalled(t *testing.T) {
	for times, long := range map[float64]time.Duration{1.2: 10 * time.Minute, 2: time.Minute, 15: time.Minute} {
		readers(t, int(times*testRate), func(t *testing.T, r *reader) {
			if r.pass(long) {
				t.Errorf("at %.1f times the floor: stalled after %v", times, r.now)
			}
		})
	}
}

// A program that reads fast has a large buffer in the end, whether somebody waited for it meanwhile or not; what was
// learned of the steps of a small one is of no use when it slows down.
func TestPeersThatSlowDownAreNotStalledAboveTheFloor(t *testing.T) {
	for _, watched := range []bool{true, false} {
		readers(t, above, func(t *testing.T, r *reader) {
			large := r.buffer
			r = newReader(above, r.chunk, 64<<10, r.window+int(r.given), r.update)
			if r.pass(20 * time.Second) {
				t.Fatalf("stalled after %v", r.now)
			}
			r.buffer, r.rate = large, 100<<20
			if !watched {
				r.rest(5 * time.Second)
			} else if r.pass(5 * time.Second) {
				t.Fatalf("stalled while it reads fast, after %v", r.now)
			}
			r.rate, r.allowed = above, 0
			if r.pass(time.Minute) {
				t.Errorf("stalled after it has slowed down, after %v; watched: %v", r.now, watched)
			}
		})
	}
}

// gRPC's C core tops a window up in advance while it measures the way, though little of it is gone and read, and after
// that opens it again when half of it has been read beyond that. It may have a wider one next.
func TestPeerThatTopsUpAnOpenWindowIsNotStalledAboveTheFloor(t *testing.T) {
	r := newReader(above, 8<<10, 10<<20, 1<<20, 2<<20)
	grow := func(n int) {
		r.window += n
		r.reads++
		r.stream.updates.saw(r.window, r.given, r.reads)
	}
	grow(3 << 20) // to 4 MiB
	for _, n := range []int{5, 61, 5, 702_106, 313_880} {
		grow(n)
		r.unread -= n
	}
	for wider := range 2 {
		if r.pass(time.Minute) {
			t.Fatalf("stalled after %v, widened: %d", r.now, wider)
		}
		grow(4 << 20)
		r.update = 4 << 20
	}
}

// grpc-go returns the message that its program begins to read, and what was read before, by updates of their own.
func TestPeerThatReturnsMessagesInPartsIsNotStalledAboveTheFloor(t *testing.T) {
	const part, size = 98_304, 98_304 + 101_763
	r := newReader(above, size, 6<<20, 2*size, 1<<30)
	for got := 0; r.now < time.Minute; {
		if r.pass(5 * time.Millisecond) {
			t.Fatalf("stalled after %v", r.now)
		}
		for ; r.unread-got >= size; got += size {
			r.reads++
			for _, n := range []int{part, size - part} {
				r.window += n
				r.stream.updates.saw(r.window, r.given, r.reads)
				r.socket.updates.sawShared(r.window, r.given, r.reads)
				r.move()
			}
		}
	}
}

// Several updates are one step as if they were one.
func TestUpdatesThatComeTogetherAreOneStep(t *testing.T) {
	var parts, whole windowUpdates
	for _, u := range []*windowUpdates{&parts, &whole} {
		u.saw(8000, 0, 1)
	}
	sent, at := 0, uint64(1)
	for i := range 3 * lumpsKept {
		sent += 1000 + 100*i
		at++
		whole.saw(8000, uint64(sent), at)
		for left := 600; left >= 0; left -= 200 {
			parts.saw(8000-left, uint64(sent), at)
		}
		if parts.lump() != whole.lump() || parts.early.alike() != whole.early.alike() {
			t.Fatalf("after %d steps: lump %d, alike %v; in one: %d, %v",
				i+1, parts.lump(), parts.early.alike(), whole.lump(), whole.early.alike())
		}
	}
}

func TestAPeerThatStopsIsFoundInTime(t *testing.T) {
	for phase := range 4 {
		readers(t, 4*testRate, func(t *testing.T, r *reader) {
			if r.pass(20*time.Second + time.Duration(phase)*35*time.Millisecond) {
				t.Fatalf("stalled before it stops, after %v", r.now)
			}
			r.rate = 0
			if !r.pass(time.Minute) {
				t.Fatal("not stalled")
			}
			lump := r.largest * 5 / 4 // of its kernel
			if r.pending == 0 {       // which has taken everything
				lump = max(r.update, r.update/r.chunk*r.chunk+r.chunk)
			}
			bound := max(testTimeout, time.Duration(lump)*time.Second/testRate)
			if late := r.now - r.taken - bound; late > 100*time.Millisecond {
				t.Errorf("found %v after it took something, %v after the bound of %v", r.now-r.taken, late, bound)
			}
		})
	}
}

func TestAPeerThatReadsNothingIsFoundInTime(t *testing.T) {
	readers(t, 0, func(t *testing.T, r *reader) {
		lump := r.buffer // as far as it is known to hold anything, a closed window may need to have all of it read
		if n := min(r.buffer, int(r.given)); n < lump || r.pending == 0 {
			lump = n
		}
		if r.pending > 0 {
			lump = min(lump, lump/16+mergedSegments)
		} else {
			lump = int(r.given) / 2
		}
		if !r.pass(time.Minute) {
			t.Fatal("not stalled")
		}
		bound := max(testTimeout, time.Duration(lump)*time.Second/testRate)
		if r.now > bound+100*time.Millisecond {
			t.Errorf("found after %v, want %v and 100 ms at most", r.now, bound)
		}
	})
}

func TestPeersBelowTheFloorAreStalled(t *testing.T) {
	readers(t, testRate*4/5, func(t *testing.T, r *reader) {
		if !r.pass(5 * time.Minute) {
			t.Error("not stalled at 0.8 times the floor")
		}
	})
}

// twoStreams is a socket with two streams whose DATA leaves as it is given.
type twoStreams struct {
	socket  socketUptake
	streams [2]streamUptake
	watch   [2]Watch
	state   [2]streamState
	total   uint64 // bytes given to the socket
	taken   uint64 // bytes acknowledged
	conn    int    // window of the connection
}

func newTwoStreams(window, conn int) *twoStreams {
	s := &twoStreams{conn: conn}
	s.socket.updates.sawShared(conn, 0, 1)
	for i := range s.streams {
		s.state[i].window = window
		s.streams[i].updates.saw(window, 0, 1)
	}
	return s
}

func (s *twoStreams) give(i, n int) {
	s.state[i].given += uint64(n)
	s.state[i].window -= n
	s.conn -= n
	s.total += uint64(n)
}

func (s *twoStreams) look(dt time.Duration) (stalled [2]bool) {
	s.socket.look(s.total, int(s.total-s.taken))
	for i := range s.streams {
		st := s.state[i]
		st.socket, st.connWindow, st.shared = s.total, s.conn, true
		p := s.streams[i].progress(&st, &s.socket)
		if dt == 0 {
			s.watch[i].Start(&p)
			continue
		}
		_, stalled[i] = s.watch[i].Look(dt, &p, &testFloor)
	}
	return stalled
}

func TestAStreamThatKeepsItsWindowClosedIsStalledThoughTheSocketGoesOn(t *testing.T) {
	const window = 64 << 10
	s := newTwoStreams(window, 1<<20)
	s.give(0, window) // and no update comes
	s.look(0)
	found := time.Duration(0)
	for now := Look; now <= 5*time.Second; now += Look {
		s.give(1, 20_000) // 800 kB a second
		s.taken = s.total - 10_000
		s.state[1].window += 20_000
		s.conn += 20_000
		stalled := s.look(Look)
		if stalled[1] {
			t.Fatalf("the neighbour is stalled after %v", now)
		}
		if stalled[0] && found == 0 {
			found = now
		}
	}
	if found == 0 || found > testTimeout+2*Look+100*time.Millisecond { // its last byte is acknowledged at the second look
		t.Errorf("found after %v, want %v or so", found, testTimeout)
	}
}

// What a stream was given lies in the socket behind its neighbour's bytes, which are read above the floor: ten times as
// long as the timeout.
func TestAStreamIsNotBlamedForItsNeighbour(t *testing.T) {
	s := newTwoStreams(64<<10, 4<<20)
	s.give(1, 2<<20)
	s.give(0, 64<<10)
	s.look(0)
	for now := Look; now <= 6*time.Second; now += Look {
		s.taken += above / 40
		if stalled := s.look(Look); stalled[0] || stalled[1] {
			t.Fatalf("stalled %v after %v", stalled, now)
		}
	}
}

// The connection's window is closed by what one stream has not returned: the other has nothing to answer for.
func TestTheWindowOfAllIsBlamedOnWhoKeepsItClosed(t *testing.T) {
	s := newTwoStreams(1<<20, 1<<20)
	s.give(0, 1<<20-2000)
	s.give(1, 2000)
	s.taken = s.total
	s.look(0)
	got := [2]bool{}
	for now := Look; now <= 10*time.Second; now += Look {
		stalled := s.look(Look)
		got[0], got[1] = got[0] || stalled[0], got[1] || stalled[1]
	}
	if !got[0] || got[1] {
		t.Errorf("stalled %v, want the first only", got)
	}
}

func TestSocketThatNobodyReadsStallsAllItsStreams(t *testing.T) {
	s := newTwoStreams(1<<20, 4<<20)
	s.give(0, 10_000)
	s.give(1, 10_000)
	s.look(0)
	got := [2]bool{}
	for range 40 {
		stalled := s.look(Look)
		got[0], got[1] = got[0] || stalled[0], got[1] || stalled[1]
	}
	if !got[0] || !got[1] {
		t.Errorf("stalled %v, want both", got)
	}
}

func TestWindowUpdatesTeachTheirSteps(t *testing.T) {
	type change struct{ sent, window int }
	for _, tc := range []struct {
		rule    string
		changes []change
		lump    int
		left    int // not returned, at the last window
	}{
		{"half of the window, as long as none was seen", []change{{0, 65535}}, 32767, 0},
		{"a few say nothing yet", []change{{0, 1000}, {300, 1000}, {1000, 500}}, 500, 500},
		{"the largest of the latest", []change{{0, 1000}, {400, 1000}, {1000, 500}, {1500, 300}, {1700, 300}}, 400, 700},
		{"a window of any size is waited for as long as grpc-go's", []change{{0, 1 << 30}}, 8 << 20, 0},
		{"a wider window is no step", []change{{0, 65535}, {0, 5 << 20}}, 5 << 19, 0},
		{"a wider window may hold what was returned", []change{{0, 1000}, {800, 3000}}, 1900, 800},
		{"what an open window gets counts if it is always the same", []change{{0, 8000}, {2000, 8000}, {4100, 8000}, {6100, 8000}, {8200, 8000}}, 2100, 0},
		{"and not if it is not: some may have been given in advance", []change{{0, 8000}, {5, 8000}, {10, 8000}, {2010, 8000}, {4010, 8000}}, 8000, 0},
		{"a few that are the same say nothing yet", []change{{0, 8000}, {2000, 8000}, {4000, 8000}}, 4000, 0},
		{"a wider window has other steps", []change{{0, 1000}, {900, 1000}, {1800, 1000}, {2700, 1000}, {3600, 1000}, {3600, 9000}}, 4500, 0},
		{"an old step is forgotten", append([]change{{0, 1000}, {900, 1000}},
			func() (cs []change) {
				for i := 1; i <= 16; i++ {
					cs = append(cs, change{900 + 10*i, 1000})
				}
				return cs
			}()...), 10, 0},
	} {
		var u windowUpdates
		for i, c := range tc.changes {
			u.saw(c.window, uint64(c.sent), uint64(i+1))
		}
		last := tc.changes[len(tc.changes)-1].window
		if u.lump() != tc.lump || u.unreturned(last) != tc.left {
			t.Errorf("%s: lump %d, unreturned %d, want %d and %d", tc.rule, u.lump(), u.unreturned(last), tc.lump, tc.left)
		}
	}
}

func TestBoundOfAFloor(t *testing.T) {
	for _, tc := range []struct {
		rule string
		lump int
		rtt  time.Duration
		want time.Duration
	}{
		{"the timeout", 1000, time.Millisecond, testTimeout},
		{"the time of a lump", testRate, 0, time.Second},
		{"two round trips", 0, 300 * time.Millisecond, 600 * time.Millisecond},
		{"a peer cannot be as far as it likes", 0, time.Hour, 2 * time.Second},
	} {
		got := time.Duration(testFloor.bound(tc.lump, tc.rtt) / testRate * float64(time.Second))
		if (got - tc.want - grace).Abs() > time.Microsecond {
			t.Errorf("%s: %v, want %v and %v", tc.rule, got, tc.want, grace)
		}
	}
}

func TestWhatWasTakenNeverFalls(t *testing.T) {
	var u socketUptake
	for _, c := range []struct {
		given   uint64
		pending int
		taken   uint64
	}{{1000, 200, 800}, {1000, 900, 800}, {1000, 5000, 800}, {1500, 100, 1400}} {
		if u.look(c.given, c.pending); u.taken != c.taken {
			t.Errorf("%d given, %d pending: taken %d, want %d", c.given, c.pending, u.taken, c.taken)
		}
	}
}

// On a long way a step is acknowledged bit by bit.
func TestAStepOverSeveralLooksCountsAsOne(t *testing.T) {
	var r receiveBuffer
	r.look(0, 0, 0, 1<<20)
	for range lumpsTrusted {
		r.look(30_000, 0, 10_000, 1<<20)
		r.look(15_000, 0, 15_000, 1<<20)
		r.look(0, 0, 15_000, 1<<20)
	}
	if got := r.lump(); got != 40_000*5/4 {
		t.Errorf("lump %d, want %d", got, 40_000*5/4)
	}
}
