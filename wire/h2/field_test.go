package h2

import (
	"reflect"
	"strings"
	"testing"
)

// An owner needs no other package to speak to this one.
func TestNoTypeOfAnotherModuleIsExported(t *testing.T) {
	seen := map[reflect.Type]bool{}
	var walk func(where string, x reflect.Type)
	walk = func(where string, x reflect.Type) {
		if seen[x] {
			return
		}
		seen[x] = true
		if first, _, _ := strings.Cut(x.PkgPath(), "/"); strings.Contains(first, ".") && !strings.HasSuffix(x.PkgPath(), "/wire/h2") {
			t.Errorf("%s shows %v", where, x)
			return
		}
		for m := range x.Methods() {
			walk(where+"."+m.Name, m.Type)
		}
		switch x.Kind() {
		case reflect.Pointer, reflect.Slice, reflect.Array, reflect.Map:
			walk(where, x.Elem())
		case reflect.Func:
			for p := range x.Ins() {
				walk(where, p)
			}
			for p := range x.Outs() {
				walk(where, p)
			}
		case reflect.Struct:
			for f := range x.Fields() {
				if f.IsExported() {
					walk(where+"."+f.Name, f.Type)
				}
			}
		}
	}
	walk("Conn", reflect.TypeFor[*Conn]())
	walk("Events", reflect.TypeFor[Events]())
}
