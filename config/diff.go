package config

import "reflect"

// Differences returns the key paths of all that o says and c does not, or says differently, in file order. What has no
// value of its own, such as a whole service, is one path. Secrets do not count.
func (c *Config) Differences(o *Config) []string {
	return differences("", c.Show().root, o.Show().root)
}

func differences(path string, a, b pairs) (paths []string) {
	at := func(key string) string {
		if path == "" {
			return key
		}
		return join(path, key)
	}
	find := func(f pairs, key string) any {
		for _, p := range f {
			if p.key == key {
				return p.value
			}
		}
		return nil
	}
	for _, p := range a {
		paths = append(paths, different(at(p.key), p.value, find(b, p.key))...)
	}
	for _, p := range b {
		if find(a, p.key) == nil && p.value != nil {
			paths = append(paths, at(p.key))
		}
	}
	return paths
}

func different(path string, a, b any) []string {
	in, too := a.(pairs)
	other, both := b.(pairs)
	switch {
	case a == nil: // differences finds it from the other side
		return nil
	case reflect.DeepEqual(a, b):
		return nil
	case too && both:
		return differences(path, in, other)
	}
	return []string{path}
}

// Same reports whether two TLS blocks say the same, secrets included, wherever they stand.
func (t *TLS) Same(o *TLS) bool { return same(reflect.ValueOf(*t), reflect.ValueOf(*o)) }

// Same reports whether two clients are the same, secrets included, wherever they stand, but for their auth.
func (c *Client) Same(o *Client) bool {
	a, b := *c, *o
	a.Auth, b.Auth = Auth{}, Auth{}
	return same(reflect.ValueOf(a), reflect.ValueOf(b))
}

// Same reports whether two blocks of auth say the same, secrets included, wherever they stand.
func (a *Auth) Same(o *Auth) bool { return same(reflect.ValueOf(*a), reflect.ValueOf(*o)) }

// same compares two values of one type, but for positions.
func same(a, b reflect.Value) bool {
	if a.Type() == reflect.TypeFor[Position]() {
		return true
	}
	switch a.Kind() {
	case reflect.Struct:
		for i := range a.NumField() {
			if !same(a.Field(i), b.Field(i)) {
				return false
			}
		}
		return true
	case reflect.Pointer, reflect.Interface:
		if a.IsNil() || b.IsNil() || a.Elem().Type() != b.Elem().Type() {
			return a.IsNil() && b.IsNil()
		}
		return same(a.Elem(), b.Elem())
	case reflect.Slice, reflect.Array:
		if a.Len() != b.Len() {
			return false
		}
		for i := range a.Len() {
			if !same(a.Index(i), b.Index(i)) {
				return false
			}
		}
		return true
	case reflect.Map:
		if a.Len() != b.Len() {
			return false
		}
		for _, k := range a.MapKeys() {
			if v := b.MapIndex(k); !v.IsValid() || !same(a.MapIndex(k), v) {
				return false
			}
		}
		return true
	case reflect.String: // what follows may not be asked for the value of an unexported field
		return a.String() == b.String()
	}
	return a.Equal(b)
}
