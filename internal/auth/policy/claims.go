package policy

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
)

// plain returns claims with the numbers of P-pol-3: uint64, else int64, else float64. What upstream's reader of tokens would not have
// read is an error: nesting that is too deep, and numbers that no float64 can hold, with which an engine could be kept busy.
func plain(claims map[string]any) (map[string]any, error) {
	v, err := plainValue(claims, 0)
	if err != nil {
		return nil, err
	}
	return v.(map[string]any), nil
}

func plainValue(v any, depth int) (any, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("claims are nested more than %d deep", maxDepth)
	}
	switch v := v.(type) {
	case nil, bool, string:
		return v, nil
	case json.Number:
		return plainNumber(string(v))
	case float64:
		if math.IsInf(v, 0) || math.IsNaN(v) {
			return nil, errors.New("a claim holds a number that is none")
		}
		return v, nil
	case int64:
		if v >= 0 {
			return uint64(v), nil
		}
		return v, nil
	case uint64:
		return v, nil
	case int:
		return plainValue(int64(v), depth)
	case []string:
		list := make([]any, len(v))
		for i, s := range v {
			list[i] = s
		}
		return list, nil
	case []any:
		list := make([]any, len(v))
		for i, e := range v {
			var err error
			if list[i], err = plainValue(e, depth+1); err != nil {
				return nil, err
			}
		}
		return list, nil
	case map[string]any:
		m := make(map[string]any, len(v))
		for k, e := range v {
			var err error
			if m[k], err = plainValue(e, depth+1); err != nil {
				return nil, err
			}
		}
		return m, nil
	}
	return nil, fmt.Errorf("a claim is a %T, which no JSON is", v)
}

func plainNumber(text string) (any, error) {
	if u, err := strconv.ParseUint(text, 10, 64); err == nil {
		return u, nil
	}
	if i, err := strconv.ParseInt(text, 10, 64); err == nil {
		return i, nil
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsInf(f, 0) || math.IsNaN(f) {
		return nil, errors.New("a claim holds a number that is too large, or none")
	}
	return f, nil
}
