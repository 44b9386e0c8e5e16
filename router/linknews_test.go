package router

import (
	"fmt"
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
