package router

import (
	"fmt"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"
)

// However the failures of a link alternate, the log tells of each kind once, and of very many kinds one a minute.
func TestFailuresOfALinkThatAreTold(t *testing.T) {
	var n linkNews
	at := time.Now()
	told := 0
	for i := range 3000 {
		if _, ok := n.tells(fmt.Sprintf("%c: port %d", 'a'+i%3, i), at); ok {
			told++
		}
		at = at.Add(time.Second)
	}
	if told != 3 {
		t.Errorf("%d of three kinds are told", told)
	}
	told, left := 0, 0
	for i := range 600 {
		untold, ok := n.tells(fmt.Sprintf("%c%c", 'a'+i/26, 'a'+i%26), at)
		if ok {
			told++
			left += untold
		}
		at = at.Add(time.Second)
	}
	if told < 14 || told > 15 || told+left+n.untold != 600 {
		t.Errorf("of 600 kinds in 600 s %d are told, and %d said to be left out", told, left)
	}
}

// A link that is up and lost again and again fills no log.
func TestLinkThatComesAndGoesIsToldOnce(t *testing.T) {
	j := newJournal(slog.LevelInfo)
	o := generic("one")
	o.Log = j.log()
	one, two := start(t, o), start(t, generic("two"))
	one.dialers.settled = hang // however slow the machine is
	const times = 5
	var up atomic.Int32
	d := dialLink(t, one, two.Addrs()[0].String(), func(l *Link) {
		changed := l.Changed
		l.Backoff = func(int) (time.Duration, bool) { return 0, up.Load() < times }
		l.Changed = func(s LinkState) {
			if s == LinkUp {
				up.Add(1)
				for _, l := range two.loops {
					l.post(func() {
						for _, c := range l.live {
							c.end(statusOK, "")
						}
					})
				}
			}
			changed(s)
		}
	})
	d.await(LinkOver)
	for text, want := range map[string]int{"client connected": 1, "the link was up, and lost at once": 1, "link is lost": 0, "link is given up": 1} {
		if n := len(j.all(text)); n != want {
			t.Errorf("%q is said %d times, want %d", text, n, want)
		}
	}
	if n := up.Load(); n != times {
		t.Errorf("it was up %d times, want %d", n, times)
	}
}
