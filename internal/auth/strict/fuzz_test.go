package strict

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
)

// What is read of JSON is what encoding/json reads, or nothing.
func FuzzObject(f *testing.F) {
	for _, s := range []string{`{}`, `{"a":1}`, `{"a":{"b":[1,"x",true,{}]},"c":1.5e3}`, `{"a":1,"a":2}`, `{"a":null}`, `[]`, `{"a":"\ud800"}`, `{"a":"\ud83d\ude00"}`,
		`{"a":1}{}`, `{"a":1e999}`, ` {"a" : [ ] } `, `{"a":"\\ud800"}`, `{"a":1,}`, `{"a":[1,]}`, `{"a":}`, `{"a"}`, `{"a" 1}`, `{"a":1]`, "{\"a\":\"\xff\"}", strings.Repeat(`{"a":`, 70)} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, n, err := Object(b, true)
		if err != nil {
			if m != nil {
				t.Error("an error, and something else")
			}
			return
		}
		d := json.NewDecoder(bytes.NewReader(b))
		d.UseNumber()
		var want map[string]any
		if err := d.Decode(&want); err != nil || !reflect.DeepEqual(m, want) {
			t.Errorf("%q is read as %v, want %v (%v)", b, m, want, err)
		}
		if n > maxValues {
			t.Errorf("%d values", n)
		}
		if _, _, err := Object(b, false); err != nil && !bytes.Contains(b, []byte("null")) {
			t.Errorf("without nulls %q: %v", b, err)
		}
	})
}
