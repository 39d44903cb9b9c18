"""`ferry emulator`: ECS and OSS on this machine, for trying things out without an account."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.option(
    "-f",
    "--folder",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("emulated-cloud"),
    show_default=True,
)
@click.option("--ecs-port", type=click.IntRange(0, 65535), default=8710, show_default=True)
@click.option("--oss-port", type=click.IntRange(0, 65535), default=8711, show_default=True)
@click.option(
    "--export-seconds", type=click.FloatRange(0), default=3.0, show_default=True,
    help="How long an export takes at least.",
)  # fmt: skip
@click.option("--demo", is_flag=True, help="Put a demo server image and a bucket into the folder first.")
def command(folder: Path, ecs_port: int, oss_port: int, export_seconds: float, *, demo: bool) -> None:
    """Run ECS and OSS on this machine, for trying things out.

    The folder holds images and buckets. Only this machine can reach the servers. Ctrl-C ends them.
    """
    from emulator.server import EmulatedCloud, Variants, serve  # noqa: PLC0415

    folder = folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    if demo:
        from demo.account import make_demo_account  # noqa: PLC0415

        image_id, bucket = make_demo_account(folder)
        click.echo(f"image {image_id}, bucket {bucket}")

    def show(cloud: EmulatedCloud) -> None:
        click.echo(f"ECS http://{cloud.ecs_endpoint}\nOSS http://{cloud.oss_endpoint}\nregion {cloud.region_id}")
        # Keys to an emulator on loopback are no secret: whoever tries it out needs them.
        click.echo(f"export ALIBABA_CLOUD_ACCESS_KEY_ID={cloud.access_key_id}")
        click.echo(f"export ALIBABA_CLOUD_ACCESS_KEY_SECRET={cloud.access_key_secret}")

    serve(folder, variants=Variants(export_seconds=export_seconds), ecs_port=ecs_port, oss_port=oss_port, on_ready=show)
