package leak

import (
	"strings"
	"testing"
	"time"
)

func left(c <-chan struct{}) { <-c }

// A goroutine that stays is told of by its name, and one that ends late is waited for.
func TestGoroutinesThatAreLeft(t *testing.T) {
	c := make(chan struct{})
	go left(c)
	if err := wait(0); err == nil || !strings.Contains(err.Error(), "internal/leak.left") {
		t.Errorf("found: %v", err)
	}
	time.AfterFunc(time.Second, func() { close(c) }) // longer than goleak looks for at a time
	if err := wait(time.Hour); err != nil {
		t.Error(err)
	}
}
