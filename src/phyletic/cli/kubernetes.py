import click
@click.command()
def kubernetes(): "x"
