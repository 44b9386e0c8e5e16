package config

import (
	"os"
	"reflect"
	"strings"
	"testing"
)

// The reference lists every key: each field of each type that a file is decoded to is set somewhere in it, no key is
// misspelt, and what has no effect is called so.
func TestReferenceHasEveryKey(t *testing.T) {
	const file = referenceFile
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	d := &decoder{file: file, context: contextLoad}
	root := d.tree(b)
	parts := d.root(root)
	resolve(d, root, func(name string) (string, bool) { return name, true })
	d.err = nil // files that it names are not there
	c := &Config{File: file}
	d.blocks(c, parts, root)
	if d.err != nil {
		t.Fatal(d.err)
	}
	set := map[string]bool{}
	fields(reflect.ValueOf(*c), set)
	for field, ok := range set {
		if !ok && field != "Secret._" {
			t.Errorf("%s: no key for %s", file, field)
		}
	}
	lines := strings.Split(string(b), "\n")
	for _, w := range d.warnings {
		if line := lines[w.Position.Line-1]; !strings.Contains(w.Text, "no effect") || !strings.Contains(line, "# no effect") {
			t.Errorf("%s: %q", w, line)
		}
	}
}

// fields notes for each field of each struct type below v whether any value sets it.
func fields(v reflect.Value, set map[string]bool) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			fields(v.Elem(), set)
		}
	case reflect.Slice:
		for i := range v.Len() {
			fields(v.Index(i), set)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			name := v.Type().Name() + "." + v.Type().Field(i).Name
			set[name] = set[name] || !v.Field(i).IsZero()
			fields(v.Field(i), set)
		}
	}
}
