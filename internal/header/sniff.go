package header

import (
	"bytes"
	"strings"

	"github.com/tintype/tintype/event"
)

// magic maps the first bytes of a file to a format. Names that are not
// developed are those of event.UnsupportedFormat.
var magic = []struct{ prefix, format string }{
	{"\xff\xd8\xff", JPEG},
	{"\x89PNG\r\n\x1a\n", PNG},
	{"GIF87a", GIF},
	{"GIF89a", GIF},
	{"II\x2a\x00", TIFF},
	{"MM\x00\x2a", TIFF},
	{"\xff\x0a", "jxl"},
	{"\x00\x00\x00\x0cJXL ", "jxl"},
	{"\x00\x00\x00\x0cjP  ", "jp2"},
	{"\xff\x4f\xff\x51", "jp2"},
	{"\x00\x00\x01\x00", "ico"},
	{"8BPS", "psd"},
	{"PK\x03\x04", "zip"},
	{"IIU\x00", "raw"},
	{"IIRO", "raw"},
	{"IIRS", "raw"},
	{"FUJIFILMCCD-RAW", "raw"},
	{"\x00MRM", "raw"},
	{"FOVb", "raw"},
	{"II\x1a\x00\x00\x00HEAPCCDR", "raw"},
	{"\x1a\x45\xdf\xa3", "video"},
	{"OggS", "video"},
	{"FLV\x01", "video"},
	{"\x00\x00\x01\xba", "video"},
	{"\x00\x00\x01\xb3", "video"},
	{"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "video"},
	{"II\xbc\x01", "jxr"},
	{"%!PS", "eps"},
	{"\xc5\xd0\xd3\xc6", "eps"},
	{"\x76\x2f\x31\x01", "exr"},
	{"#?RADIANCE", "hdr"},
	{"#?RGBE", "hdr"},
	{"gimp xcf", "xcf"},
	{"DDS ", "dds"},
	{"qoif", "qoi"},
	{"icns", "icns"},
	{"\x1f\x8b\x08", "gzip"},
}

// brands maps the brands of an ISO base media file to a format; any other
// brand is a video.
var brands = map[string]string{
	"avif": "avif", "avis": "avif",
	"heic": "heic", "heix": "heic", "hevc": "heic", "hevx": "heic", "heim": "heic", "heis": "heic", "hevm": "heic", "hevs": "heic", "mif1": "heic", "mif2": "heic", "msf1": "heic",
	"jxl ": "jxl", "jp2 ": "jp2", "jpx ": "jp2", "jph ": "jp2",
	"crx ": "raw",
}

// Sniff tells the format by the bytes themselves, never by a name. For a format
// that is not developed it returns the name and a refusal; its error is an
// event.Refusal.
func Sniff(src []byte) (string, error) {
	format := sniff(src)
	switch format {
	case JPEG, PNG, GIF, WebP, BMP:
		return format, nil
	case TIFF:
		if len(src) > 10 && string(src[8:10]) == "CR" {
			return "raw", event.Refuse(event.UnsupportedFormat("raw"), "a Canon raw file is not developed")
		}
		return format, nil
	case "":
		if len(src) < 12 {
			return "", event.Refuse(event.ReasonUnknownFormat, "%d bytes are too few for a photo", len(src))
		}
		return "", event.Refuse(event.ReasonUnknownFormat, "no format begins with %x", src[:12])
	case "bigtiff":
		return TIFF, event.Refuse(event.ReasonUnsupportedFeature, "BigTIFF is not developed")
	}
	return format, event.Refuse(event.UnsupportedFormat(format), "%s is not developed", format)
}

func sniff(src []byte) string {
	for _, m := range magic {
		if bytes.HasPrefix(src, []byte(m.prefix)) {
			return m.format
		}
	}
	switch {
	case bytes.HasPrefix(src, []byte("II\x2b\x00")), bytes.HasPrefix(src, []byte("MM\x00\x2b")):
		return "bigtiff"
	case len(src) >= 12 && string(src[:4]) == "RIFF" && string(src[8:12]) == "WEBP":
		return WebP
	case len(src) >= 12 && string(src[:4]) == "RIFF" && string(src[8:12]) == "AVI ":
		return "video"
	case len(src) >= 18 && string(src[:2]) == "BM" && src[14] >= 12 && src[14] <= 124 && src[15] == 0 && src[16] == 0 && src[17] == 0:
		return BMP
	case len(src) >= 12 && string(src[4:8]) == "ftyp":
		return sniffBrands(src)
	case len(src) >= 12 && (string(src[4:8]) == "moov" || string(src[4:8]) == "mdat" || string(src[4:8]) == "wide"): // QuickTime before it had brands.
		return "video"
	case len(src) >= 3 && src[0] == 'P' && src[1] >= '1' && src[1] <= '7' && strings.ContainsRune(" \t\r\n", rune(src[2])):
		return "pnm"
	}
	return sniffText(src)
}

// sniffBrands looks at the major brand and then at the compatible ones, of
// which a HEIF file that says only mif1 has the telling one.
func sniffBrands(src []byte) string {
	size := int(src[2])<<8 | int(src[3])
	list := src[8:min(len(src), max(size, 16), 256)]
	found := ""
	for at := 0; at+4 <= len(list); at += 4 {
		if at == 4 {
			continue // The minor version.
		}
		switch format := brands[string(list[at:at+4])]; {
		case format == "avif":
			return format
		case found == "":
			found = format
		}
	}
	if found == "" {
		return "video"
	}
	return found
}

// sniffText finds SVG, HTML and PDF, which may begin with blanks and comments.
func sniffText(src []byte) string {
	src = src[:min(len(src), 16<<10)]
	if bytes.HasPrefix(src, []byte("\xff\xfe")) || bytes.HasPrefix(src, []byte("\xfe\xff")) { // UTF-16: what matters of it is ASCII.
		src = bytes.ReplaceAll(src[2:], []byte{0}, nil)
	}
	head := strings.ToLower(string(src))
	head = strings.TrimLeft(strings.TrimPrefix(head, "\xef\xbb\xbf"), " \t\r\n")
	if strings.Contains(head[:min(len(head), 1024)], "%pdf-") {
		return "pdf"
	}
	if !strings.HasPrefix(head, "<") {
		return ""
	}
	svg, html := strings.Index(head, "<svg"), min(index(head, "<html"), index(head, "<!doctype html"))
	switch {
	case svg >= 0 && svg < html: // A page may hold an SVG.
		return "svg"
	case html < len(head):
		return "html"
	case strings.Contains(head, ":svg") && strings.Contains(head, "http://www.w3.org/2000/svg"): // With a namespace before its names.
		return "svg"
	}
	return ""
}

// index is where part begins in s; the end of s if it is not there.
func index(s, part string) int {
	if at := strings.Index(s, part); at >= 0 {
		return at
	}
	return len(s)
}
