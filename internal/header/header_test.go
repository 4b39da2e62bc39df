package header

import (
	"encoding/binary"
	"strings"
	"testing"

	"github.com/tintype/tintype/event"
)

func TestSniff(t *testing.T) {
	page := "<!DOCTYPE html><html><body>"
	for start, want := range map[string]string{
		"\xff\xd8\xff\xe0": JPEG, "\x89PNG\r\n\x1a\n": PNG, "GIF89a": GIF, "II\x2a\x00": TIFF, "RIFF\x00\x00\x00\x00WEBP": WebP,
		"BM\x00\x00\x00\x00\x00\x00\x00\x00\x1a\x00\x00\x00\x0c\x00\x00\x00":       BMP,
		"<svg xmlns='http://www.w3.org/2000/svg'/>":                                "svg",
		"<?xml version='1.0'?><!-- " + strings.Repeat("long ", 1500) + "--><svg/>": "svg",
		"\xff\xfe<\x00s\x00v\x00g\x00/\x00>\x00":                                   "svg",
		"<x:svg xmlns:x='http://www.w3.org/2000/svg'/>":                            "svg",
		page + "<svg/>": "html", "\n\n%PDF-1.4 ....": "pdf", "%!PS-Adobe-3.0 EPSF-3.0": "eps", "P6\n3 3 255\n": "pnm",
		"\x00\x00\x00\x18ftypmif1\x00\x00\x00\x00mif1heic": "heic", "\x00\x00\x00\x1cftypmif1\x00\x00\x00\x00mif1miafavif": "avif",
		"\x00\x00\x00\x14ftypjxl \x00\x00\x00\x00jxl ": "jxl", "\x00\x00\x00\x14ftypqt  \x00\x00\x00\x00qt  ": "video",
		"\x00\x00\x00\x08wide\x00\x00\x00\x00mdat": "video", "FUJIFILMCCD-RAW ": "raw", "FOVb\x00\x00\x00\x00\x00\x00\x00\x00": "raw",
		"#?RADIANCE\nFORMAT=": "hdr", "\x76\x2f\x31\x01\x02\x00\x00\x00": "exr", "qoif\x00\x00\x00\x01": "qoi", "\x1f\x8b\x08\x00\x00\x00\x00\x00": "gzip",
		"8BPS\x00\x01": "psd", "PK\x03\x04": "zip", "\x00\x00\x01\x00\x01\x00": "ico", "II\xbc\x01\x08\x00\x00\x00": "jxr",
		"a letter to a friend": "",
	} {
		format, err := Sniff([]byte(start))
		if format != want {
			t.Errorf("%.20q is %q, want %q", start, format, want)
		}
		if r, ok := event.AsRefusal(err); ok && want != "" && r.Reason != event.UnsupportedFormat(want) {
			t.Errorf("%.20q: %v", start, err)
		} else if !ok && want != JPEG && want != PNG && want != GIF && want != TIFF && want != WebP && want != BMP {
			t.Errorf("%.20q was not refused", start)
		}
	}
}

func riff(chunks ...string) []byte {
	return []byte("RIFF\x00\x00\x00\x00WEBP" + strings.Join(chunks, ""))
}

func chunk(kind, body string) string {
	return kind + string(binary.LittleEndian.AppendUint32(nil, uint32(len(body)))) + body + "\x00"[:len(body)%2]
}

func TestWebPIsHeldToItsClaims(t *testing.T) {
	const lossy = "\x30\x01\x00\x9d\x01\x2a\x10\x00\x20\x00" // 16 × 32 pixels.
	canvas := func(w, h byte, flags string) string {
		return chunk("VP8X", flags+"\x00\x00\x00"+string([]byte{w - 1, 0, 0, h - 1, 0, 0}))
	}
	for name, c := range map[string]struct {
		src  []byte
		want event.Reason
	}{
		"plain":                      {riff(chunk("VP8 ", lossy)), ""},
		"on its canvas":              {riff(canvas(16, 32, "\x00"), chunk("VP8 ", lossy)), ""},
		"on another canvas":          {riff(canvas(17, 32, "\x10"), chunk("ALPH", "\x00"), chunk("VP8 ", lossy)), event.ReasonCorrupt},
		"a chunk beyond the file":    {riff("VP8 \x00\x00\x00\x05" + lossy), event.ReasonTruncated},
		"a still that says it moves": {riff(canvas(16, 32, "\x02"), chunk("VP8 ", lossy)), ""},
	} {
		h, err := Read(c.src)
		r, refused := event.AsRefusal(err)
		if refused != (c.want != "") || refused && r.Reason != c.want {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
		if !refused && (h.Width != 16 || h.Height != 32 || h.Animated) {
			t.Errorf("%s: %+v", name, h)
		}
	}
}

func TestAnimatedHasMoreThanOneFrame(t *testing.T) {
	const lossy = "\x30\x01\x00\x9d\x01\x2a\x10\x00\x10\x00"
	canvas := chunk("VP8X", "\x02\x00\x00\x00\x0f\x00\x00\x0f\x00\x00")
	frame := chunk("ANMF", "\x00\x00\x00\x00\x00\x00\x0f\x00\x00\x0f\x00\x00\x64\x00\x00\x00"+chunk("VP8 ", lossy))
	png := func(frames byte) []byte {
		src := []byte("\x89PNG\r\n\x1a\n\x00\x00\x00\x0dIHDR\x00\x00\x00\x64\x00\x00\x00\x64\x08\x02\x00\x00\x00\x00\x00\x00\x00")
		return append(src, "\x00\x00\x00\x08acTL\x00\x00\x00"+string([]byte{frames})+"\x00\x00\x00\x00\x00\x00\x00\x00"...)
	}
	for name, c := range map[string]struct {
		src  []byte
		want bool
	}{
		"webp of one frame": {riff(canvas, frame), false},
		"webp of two":       {riff(canvas, frame, frame), true},
		"png of one frame":  {png(1), false},
		"png of two":        {png(2), true},
	} {
		h, err := Read(c.src)
		if err != nil || h.Animated != c.want {
			t.Errorf("%s: %t, %v", name, h.Animated, err)
		}
	}
}

func TestWhatDecodingHolds(t *testing.T) {
	png := func(bits, colour, interlace byte) []byte {
		src := []byte("\x89PNG\r\n\x1a\n\x00\x00\x00\x0dIHDR\x00\x00\x00\x64\x00\x00\x00\x64")
		return append(src, bits, colour, 0, 0, interlace, 0, 0, 0, 0)
	}
	frame := "\xff\xc0\x00\x11\x08\x00\x64\x00\x64\x03\x01\x11\x00\x02\x11\x00\x03\x11\x00"
	for name, c := range map[string]struct {
		src  []byte
		want float64 // bytes a pixel
	}{
		"png":                  {png(8, 2, 0), 4},
		"png, interlaced":      {png(8, 2, 1), 7},
		"png, interlaced deep": {png(16, 6, 1), 14},
		"jpeg":                 {[]byte("\xff\xd8" + frame), 3},
		"jpeg, rgb":            {[]byte("\xff\xd8\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00\x00" + frame), 7},
	} {
		h, err := Read(c.src)
		if err != nil || h.BytesPerPixel != c.want {
			t.Errorf("%s: %v bytes a pixel, %v, want %v", name, h.BytesPerPixel, err, c.want)
		}
	}
}
