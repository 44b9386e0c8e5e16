package client

import (
	"reflect"
	"testing"

	"github.com/seed31b3bfd0/slimgo/bench/load"
)

func TestLettersAreReadAsTheyWereWritten(t *testing.T) {
	from, to := address("alice", 7), load.Address{Parts: [3]string{"org", "ns", "bob"}}
	for name, l := range map[string]Letter{
		"text": {From: from, To: to, Kind: Text, Text: []byte("hello")}, "nothing": {From: from, To: to, Kind: Text},
		"to all": {From: from, To: to, All: true, Kind: Text, Text: []byte{0, 255}}, "a question": {From: from, To: to, Kind: Asking},
		"an answer": {From: to, To: from, Kind: Here},
	} {
		if got, err := ReadLetter(l.encode(identity, nil)); err != nil || !reflect.DeepEqual(got, l) {
			t.Errorf("%s: %v, got %+v, want %+v", name, err, got, l)
		}
	}
	if _, err := ReadLetter([]byte{0xff, 0xff}); err == nil {
		t.Error("nonsense is a letter")
	}
}
