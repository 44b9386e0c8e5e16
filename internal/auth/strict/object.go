package strict

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"unicode/utf8"
)

const (
	maxDepth  = 64   // of lists and objects in each other; upstream takes some 127
	maxValues = 4096 // what a token costs once it is decoded
)

// decoder reads one JSON object as encoding/json would, but strictly: no member twice, no null, bounded in depth and values.
type decoder struct {
	d      *json.Decoder
	nulls  bool // are allowed
	values int
}

// Object reads a JSON object that is all there is, numbers as json.Number, and says how many values it has in all. What readers could
// understand differently is refused, and null where nulls is not set. The error tells nothing of the values.
func Object(b []byte, nulls bool) (members map[string]any, values int, err error) {
	if !utf8.Valid(b) {
		return nil, 0, errors.New("it is not UTF-8")
	}
	if lone(b) {
		return nil, 0, errors.New(`it has an escape \uD800 to \uDFFF that is half a character`)
	}
	d := &decoder{d: json.NewDecoder(bytes.NewReader(b)), nulls: nulls}
	d.d.UseNumber()
	if t, err := d.d.Token(); err != nil || t != json.Delim('{') {
		return nil, 0, errJSON
	}
	m, err := d.object(1)
	if err != nil {
		return nil, 0, err
	}
	if _, err := d.d.Token(); err != io.EOF {
		return nil, 0, errors.New("there is more after the JSON object")
	}
	return m, d.values, nil
}

var errJSON = errors.New("it is no JSON object")

// object reads what follows "{", and "}".
func (d *decoder) object(depth int) (map[string]any, error) {
	m := map[string]any{}
	for d.d.More() {
		t, err := d.d.Token()
		key, ok := t.(string)
		if err != nil || !ok {
			return nil, errJSON
		}
		if _, ok := m[key]; ok {
			return nil, errors.New("a member is there twice, and readers differ in which one counts")
		}
		if m[key], err = d.value(depth); err != nil {
			return nil, err
		}
	}
	return m, d.end()
}

func (d *decoder) list(depth int) ([]any, error) {
	l := []any{}
	for d.d.More() {
		v, err := d.value(depth)
		if err != nil {
			return nil, err
		}
		l = append(l, v)
	}
	return l, d.end()
}

func (d *decoder) end() error {
	if _, err := d.d.Token(); err != nil {
		return errJSON
	}
	return nil
}

func (d *decoder) value(depth int) (any, error) {
	if d.values++; d.values > maxValues {
		return nil, fmt.Errorf("it has more than %d values", maxValues)
	}
	t, err := d.d.Token()
	if err != nil {
		return nil, errJSON
	}
	switch t := t.(type) {
	case json.Delim:
		if depth == maxDepth {
			return nil, fmt.Errorf("it is nested more than %d deep", maxDepth)
		}
		if t == '{' {
			return d.object(depth + 1)
		}
		return d.list(depth + 1)
	case json.Number:
		if _, err := strconv.ParseFloat(string(t), 64); err != nil {
			return nil, errors.New("a number is too large")
		}
	case nil:
		if !d.nulls {
			return nil, errors.New("a value is null")
		}
	}
	return t, nil
}

// lone reports whether JSON has an escaped surrogate without its other half, which encoding/json replaces: two texts would
// become one.
func lone(b []byte) bool {
	for i := 0; i+1 < len(b); i++ {
		if b[i] != '\\' {
			continue
		}
		i++ // what is escaped
		if u, ok := surrogate(b[i:]); ok {
			if low, ok := surrogate(after(b, i+5)); u >= 0xdc00 || !ok || low < 0xdc00 {
				return true
			}
			i += 10
		}
	}
	return false
}

// after returns what follows a backslash at i; nil: there is none.
func after(b []byte, i int) []byte {
	if i >= len(b) || b[i] != '\\' {
		return nil
	}
	return b[i+1:]
}

// surrogate reads uD800 to uDFFF.
func surrogate(b []byte) (uint64, bool) {
	if len(b) < 5 || b[0] != 'u' {
		return 0, false
	}
	u, err := strconv.ParseUint(string(b[1:5]), 16, 16)
	return u, err == nil && u >= 0xd800 && u <= 0xdfff
}
