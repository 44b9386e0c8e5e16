package client

import (
	"reflect"
	"testing"

	"github.com/seed31b3bfd0/slimgo/bench/load"
)

func TestLettersAreReadAsTheyWereWritten(t *testing.T) {
	from, to := address("alice", 7), load.Address{Parts: [3]string{"org", "ns", "bob"}}
	for name, l := range map[string]Letter{
		"text": {From: from, To: to, Text: []byte("hello")}, "nothing": {From: from, To: to},
		"to all": {From: from, To: to, All: true, Text: []byte{0, 255}},
	} {
		if got, err := ReadLetter(l.encode(identity, nil)); err != nil || !reflect.DeepEqual(got, l) {
			t.Errorf("%s: %v, got %+v, want %+v", name, err, got, l)
		}
	}
	if _, err := ReadLetter([]byte{0xff, 0xff}); err == nil {
		t.Error("nonsense is a letter")
	}
}
