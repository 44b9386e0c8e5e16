package router

import (
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestLogLimitBoundsEachTopicByItself(t *testing.T) {
	var b syncBuffer
	log := slog.New(slog.NewTextHandler(&b, nil))
	var l logLimit
	now := time.Unix(0, 0)
	l.turn(now, log)
	allowed := func(t logTopic, n int) (yes uint64) {
		for range n {
			if l.allows(t) {
				yes++
			}
		}
		return yes
	}
	path, flood := logTopic(ReasonPath), logTopic(ReasonFlood)
	if n := allowed(path, 1000); n != path.most() {
		t.Errorf("%d records of a topic in a minute, want %d", n, path.most())
	}
	if n := allowed(flood, 10); n != 10 {
		t.Errorf("a talkative topic leaves %d of 10 records to another", n)
	}
	l.turn(now.Add(59*time.Second), log)
	if allowed(path, 1) != 0 || b.String() != "" {
		t.Errorf("the minute is not over; log %q", b.String())
	}
	l.turn(now.Add(time.Minute), log)
	if want := `msg="similar log records were left out" target=` + targetProcessing + " about=unknown_path count=941\n"; !strings.HasSuffix(b.String(), want) || strings.Count(b.String(), "\n") != 1 {
		t.Errorf("log %q, want one record %q", b.String(), want)
	}
	if n := allowed(path, 1000); n != path.most() {
		t.Errorf("%d records in the next minute, want %d", n, path.most())
	}
	l.settle(log) // at the end nothing is left unsaid
	if !strings.Contains(b.String(), "about=unknown_path count=940\n") {
		t.Errorf("log %q", b.String())
	}
}

func TestLogLimitCountsEveryRecord(t *testing.T) {
	const goroutines, each = 8, 1000
	var b syncBuffer
	var l logLimit
	var allowed [goroutines]uint64
	var all sync.WaitGroup
	for i := range goroutines {
		all.Go(func() {
			for range each {
				if l.allows(topicClosed) {
					allowed[i]++
				}
			}
		})
	}
	all.Wait()
	sum := uint64(0)
	for _, n := range allowed {
		sum += n
	}
	if left := l.topics[topicClosed].left.Load(); sum != topicClosed.most() || sum+left != goroutines*each {
		t.Errorf("%d records allowed, %d left out, of %d\n%s", sum, left, goroutines*each, b.String())
	}
}

func TestTopicsHaveNames(t *testing.T) {
	seen := map[string]bool{}
	for topic := range numTopics {
		if name := topic.String(); name == "" || strings.Contains(name, "(") || seen[name] {
			t.Errorf("topic %d is called %q", topic, name)
		} else {
			seen[name] = true
		}
	}
}
