package synthetic

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"sync"
)

// pngBuffers keeps the encoder's buffers, which are larger than most pictures.
var pngBuffers bufferPool

type bufferPool struct{ pool sync.Pool }

// Get returns nil where there is no buffer: the encoder makes one then.
func (p *bufferPool) Get() *png.EncoderBuffer {
	buffer, _ := p.pool.Get().(*png.EncoderBuffer)
	return buffer
}

func (p *bufferPool) Put(buffer *png.EncoderBuffer) { p.pool.Put(buffer) }

// encode writes a picture with its EXIF, which may be nil.
func encode(m *image.YCbCr, format string, quality int, e *Exif) []byte {
	var b bytes.Buffer
	var err error
	if format == "png" {
		encoder := png.Encoder{CompressionLevel: png.BestSpeed, BufferPool: &pngBuffers}
		err = encoder.Encode(&b, rgb(m))
	} else {
		err = jpeg.Encode(&b, m, &jpeg.Options{Quality: quality})
	}
	if err != nil {
		// A buffer takes every write, and the sizes are this package's own.
		panic(fmt.Sprintf("synthetic: encode %s: %v", format, err))
	}
	if e == nil {
		return b.Bytes()
	}
	body := e.tiff(m.Rect.Dx(), m.Rect.Dy())
	if format == "png" {
		const header = 8 + 12 + 13 // The signature and the chunk IHDR.
		return splice(b.Bytes(), header, chunk("eXIf", body))
	}
	const soi = 2
	return splice(b.Bytes(), soi, app1(append([]byte("Exif\x00\x00"), body...)))
}

// splice puts a part into data at an offset.
func splice(data []byte, at int, part []byte) []byte {
	out := make([]byte, 0, len(data)+len(part))
	out = append(out, data[:at]...)
	out = append(out, part...)
	return append(out, data[at:]...)
}

// app1 is a JPEG segment, whose length counts its own two bytes.
func app1(body []byte) []byte {
	b := binary.BigEndian.AppendUint16([]byte{0xff, 0xe1}, uint16(2+len(body)))
	return append(b, body...)
}

// chunk is a PNG chunk.
func chunk(name string, body []byte) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(len(body)))
	b = append(append(b, name...), body...)
	return binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(b[4:]))
}

// rgb converts a picture to the pixels that PNG holds.
func rgb(m *image.YCbCr) *image.RGBA {
	out := image.NewRGBA(m.Rect)
	for y := range m.Rect.Dy() {
		for x := range m.Rect.Dx() {
			c := m.YCbCrAt(x, y)
			red, green, blue := color.YCbCrToRGB(c.Y, c.Cb, c.Cr)
			out.SetRGBA(x, y, color.RGBA{R: red, G: green, B: blue, A: 255})
		}
	}
	return out
}
