package httpface

import (
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/tintype/tintype/cmd/chserver/internal/engine"
	"github.com/tintype/tintype/cmd/chserver/internal/statement"
)

func bodyOf(r *http.Request) (io.Reader, error) {
	switch encoding := r.Header.Get("Content-Encoding"); encoding {
	case "", "identity":
		return r.Body, nil
	case "gzip":
		unpacked, err := gzip.NewReader(r.Body)
		if err != nil {
			return nil, fmt.Errorf("httpface: read the body: %w", err)
		}
		return unpacked, nil
	default:
		return nil, statement.NotImplemented("Content-Encoding " + encoding)
	}
}

// reserved are the parameters that are no settings.
var reserved = map[string]bool{
	"query": true, "database": true, "user": true, "password": true, "default_format": true, "query_id": true, "session_id": true,
	"session_timeout": true, "session_check": true, "compress": true, "decompress": true, "buffer_size": true, "wait_end_of_query": true,
	"quota_key": true, "enable_http_compression": true, "client_protocol_version": true, "http_write_exception_in_output_format": true,
	"role": true, "send_progress_in_http_headers": true,
}

// options splits the parameters into settings and query parameters.
func options(query url.Values) (map[string]string, []engine.Param) {
	settings := map[string]string{}
	var params []engine.Param
	for name, values := range query {
		if param, ok := strings.CutPrefix(name, "param_"); ok {
			params = append(params, engine.Param{Name: param, Value: values[0]})
		} else if !reserved[name] {
			settings[name] = values[0]
		}
	}
	return settings, params
}
