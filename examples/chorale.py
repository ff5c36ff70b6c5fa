"""A hymn in four voices: a network learns from chorales by Bach, and sets voices below a melody.

    python examples/chorale.py
    python examples/chorale.py tunes/ --melody melody.mid

Without an argument it reads the chorales of the package music21, which takes two minutes the first time; else
a folder of MIDI files. The melody is Old Hundredth (Geneva 1551), or that of a MIDI file. The network reads
which keys sound at each sixteenth, and decides those of the next one after the other; the highest is given.
What it sets is written as notes, sound and a picture.
"""

import argparse
from pathlib import Path

import ostinato
from ostinato.data.events import midi, scores, sound
from ostinato.tasks.music import MusicConfig
from ostinato.tasks.music.pictures import draw_roll

OLD_HUNDREDTH = """X:1
T:Old Hundredth
M:4/4
L:1/4
K:G
G2 GF|ED G2|A2 B2|B2 BB|AG c2|B2 A2|G2 AB|AG E2|F2 G2|d2 BG|Ac B2|A2 G2|]
"""
TEMPO = 90


def main() -> None:
    parser = argparse.ArgumentParser(description="Learn from chorales, and set voices below a melody.")
    parser.add_argument(
        "tunes", nargs="?", help="a folder of MIDI files; the chorales of music21 if it is not given"
    )
    parser.add_argument("--melody", type=Path, help="a MIDI file, of which the highest voice is taken")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--grid", type=int, default=4, help="steps of a quarter note")
    parser.add_argument("--units", type=int, default=400)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", help="the run directory; the next free one of runs/ if it is not given")
    arguments = parser.parse_args()

    config = MusicConfig(grid=arguments.grid, units=arguments.units)
    training = ostinato.TrainingConfig(
        minutes=arguments.minutes, learning_rate=5e-3, schedule="cosine", warmup=0.02, clip=1.0
    )
    run = ostinato.train(config, arguments.tunes, training=training, out=arguments.out)

    if arguments.melody is None:
        melody = scores.read_tune(OLD_HUNDREDTH).roll(arguments.grid)
    else:
        melody = midi.read(arguments.melody, arguments.grid)
    hymn = run.use.generate(harmonize=melody, temperature=0.8, seed=arguments.seed)
    folder = run.directory.report
    midi.write(folder / "hymn.mid", hymn.roll, hymn.grid, TEMPO)
    (folder / "hymn.wav").write_bytes(sound.to_wav(sound.synthesize(hymn.roll, hymn.grid, TEMPO)))
    (folder / "hymn.png").write_bytes(draw_roll(hymn.roll, hymn.grid))
    print(f"{(hymn.roll > 0).sum(axis=1).mean():.1f} voices; {hymn.nats.mean():.3f} nats per step")
    print(f"the longest run of steps that Bach wrote, too: {run.use.copied(hymn).steps}")
    print(f"written: {', '.join(str(folder / f'hymn.{ending}') for ending in ('mid', 'wav', 'png'))}")


if __name__ == "__main__":
    main()
